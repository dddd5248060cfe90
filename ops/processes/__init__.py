"""Child processes, ports and private files."""
