"""Tests of the addresses that the gateway answers itself."""
