"""Admin area: dashboard, lists, search and user profiles."""
