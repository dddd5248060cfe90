"""Reports: usage and daily statistics."""
