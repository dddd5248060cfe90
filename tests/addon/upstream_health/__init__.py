"""Tests of upstream health checks."""
