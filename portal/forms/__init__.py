"""Forms: what a page asks for. Rules of the domain stay in the services; their refusals come back to the field."""
