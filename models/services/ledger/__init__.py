"""The ledger: accounts, transfers, statements, verification."""
