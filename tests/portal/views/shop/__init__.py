"""Tests of shop pages."""
