"""`./zenzefi fleet`: rolling restarts and crashes of instances behind nginx, under load."""
