"""Prometheus metrics: the catalogue, the text format, and counters of audited events."""
