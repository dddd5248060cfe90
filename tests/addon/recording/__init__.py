"""Tests of usage, access log and metrics of the gateway."""
