"""`./zenzefi bench --money`: benchmark of purchases, payment callbacks and ledger verification."""
