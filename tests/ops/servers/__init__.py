"""Tests of the private servers."""
