"""Backups: made, kept, sent elsewhere, tried and restored."""
