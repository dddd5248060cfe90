"""The token cache of a worker, and what keeps it valid."""
