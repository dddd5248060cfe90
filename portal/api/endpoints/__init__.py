"""Endpoints of the JSON API, one module for each subject."""
