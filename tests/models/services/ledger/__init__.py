"""Tests of the services for ledger."""
