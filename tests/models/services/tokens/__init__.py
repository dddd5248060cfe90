"""Tests of the services for tokens."""
