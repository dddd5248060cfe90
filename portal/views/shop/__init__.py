"""Pages for buying and using tokens."""
