"""Tests of labels, messages and charts."""
