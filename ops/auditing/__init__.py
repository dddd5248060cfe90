"""The audit log outside the database: exports, and what was noted of its chain."""
