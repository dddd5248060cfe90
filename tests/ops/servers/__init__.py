"""Tests of the launcher's own servers."""
