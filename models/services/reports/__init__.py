"""Reports: usage, overview and daily statistics."""
