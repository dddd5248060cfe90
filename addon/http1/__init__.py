"""An HTTP/1.1 reverse proxy layer for mitmproxy: strict parsing, streaming, deadlines, abort at any time."""
