"""Tests of the services for payments."""
