"""Health reports, business metrics and failed requests."""
