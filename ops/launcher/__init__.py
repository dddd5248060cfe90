"""Start and supervision of the whole platform on one machine."""
