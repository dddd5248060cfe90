"""Pages and endpoints that need no login."""
