"""The gateway: admits requests by token, counts and forwards them through mitmproxy; one process is one worker."""
