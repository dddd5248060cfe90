"""The token cache of a worker: its tiers, look-up and invalidation."""
