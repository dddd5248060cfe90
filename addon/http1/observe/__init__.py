"""Redacted copies of exchanges for mitmproxy's own hooks."""
