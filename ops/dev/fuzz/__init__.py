"""Attacking the API with what its own document allows, and with what it does not."""
