"""Tests of the services for notifications."""
