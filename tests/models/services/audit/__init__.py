"""Tests of the services for audit."""
