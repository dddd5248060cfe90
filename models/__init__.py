"""Database tables, settings, metrics and domain services, shared by gateway, portal and jobs."""
