"""Admission: credentials, the gate, rate limits, refusals."""
