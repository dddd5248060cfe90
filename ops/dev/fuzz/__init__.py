"""`./zenzefi fuzz`: fuzzing of the JSON API with Schemathesis."""
