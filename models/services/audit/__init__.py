"""Audit log: recording, hash chain, verification, retention."""
