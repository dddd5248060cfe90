"""`./zenzefi shots`: screenshots of every page of the portal, with detected defects."""
