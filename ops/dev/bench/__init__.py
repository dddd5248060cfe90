"""`./zenzefi bench`: benchmarks of the proxy, beside stock mitmproxy and the upstream alone."""
