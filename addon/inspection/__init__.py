"""Capture of finished exchanges for traffic inspection."""
