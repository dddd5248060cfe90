"""Tests of the gateway's admission."""
