"""Tests of the services for reports."""
