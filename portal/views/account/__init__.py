"""Pages of the user's own account."""
