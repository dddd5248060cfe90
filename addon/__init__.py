"""The mitmproxy side: admits, counts and forwards requests. One process is one worker."""
