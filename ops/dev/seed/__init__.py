"""`./zenzefi seed`: fill an empty database with a shop of any size, for measuring."""
