"""`./zenzefi doctor`: checks of a running installation, each with what to do about a problem."""
