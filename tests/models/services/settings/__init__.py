"""Tests of the services for settings."""
