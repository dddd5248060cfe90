"""What the admin area shows: dashboard, lists, search, user profiles."""
