"""Error responses as JSON and as HTML pages."""
