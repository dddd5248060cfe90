"""Tests of browser login links."""
