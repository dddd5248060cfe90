"""Tests of observers of exchanges."""
