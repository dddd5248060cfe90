"""Tests of traffic inspection."""
