"""Tests of the services for promotions."""
