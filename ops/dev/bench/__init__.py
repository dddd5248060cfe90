"""`./zenzefi bench`: measures the proxy beside what one would use instead, on this machine, in one run."""
