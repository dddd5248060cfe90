"""Health checks of the upstream."""
