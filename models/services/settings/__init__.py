"""Settings that admins change at run time."""
