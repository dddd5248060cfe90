"""Tests of the endpoints of the JSON API."""
