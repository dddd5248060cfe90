"""Pool of upstream connections: limits, queue, TLS."""
