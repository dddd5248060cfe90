"""Addresses that the gateway answers itself: health, status, liveness, readiness, metrics, browser login."""
