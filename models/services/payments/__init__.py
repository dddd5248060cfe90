"""Payments: top-ups, callbacks, reversals, reconciliation, manual review."""
