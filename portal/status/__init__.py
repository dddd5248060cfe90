"""Metrics and component status."""
