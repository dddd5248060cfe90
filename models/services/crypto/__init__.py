"""Secrets and encryption."""
