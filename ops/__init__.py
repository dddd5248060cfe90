"""How the platform is run: the parts of the `zenzefi` command. It may import every other package; none imports it."""
