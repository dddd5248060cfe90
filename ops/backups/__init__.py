"""Backups: creation, retention, copies in S3, restore and restore drills."""
