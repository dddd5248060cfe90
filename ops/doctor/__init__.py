"""`./zenzefi doctor`: examines the own running installation and says, line by line, what is well and what is not."""
