"""Tests of metrics and component status."""
