"""The audit log: recording, hash chain, verification, retention."""
