"""`./zenzefi pages`: response time and database queries of every page of the portal."""
