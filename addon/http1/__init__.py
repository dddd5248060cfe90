"""An HTTP/1.1 data path for mitmproxy: strict, streaming, with deadlines, and cut at any moment."""
