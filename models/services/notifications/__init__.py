"""Notifications: mail outbox, announcements, preferences."""
