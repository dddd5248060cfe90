"""`./zenzefi pages`: how long every page of the portal takes, and what it asks of the database."""
