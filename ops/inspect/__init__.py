"""`./zenzefi inspect`: mitmweb beside the traffic, fed from Redis with what the workers show."""
