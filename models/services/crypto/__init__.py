"""Encryption and keyed secrets."""
