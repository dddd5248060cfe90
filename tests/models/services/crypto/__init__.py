"""Tests of the services for crypto."""
