"""Domain services: plain functions, session first. They flush and never commit; the caller owns the transaction."""
