"""Presentation of values: labels, formats, charts and shared pages."""
