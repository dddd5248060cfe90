"""Users' accounts."""
