"""The rules: plain functions with the session first. They flush and never commit; the caller owns the transaction."""
