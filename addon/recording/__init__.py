"""What is recorded of each exchange: usage, access log, metrics."""
