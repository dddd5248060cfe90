"""Tests of dashboards and alerts."""
