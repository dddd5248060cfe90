"""`./zenzefi inspect`: read-only mitmweb for the requests that proxy workers record during an inspection."""
