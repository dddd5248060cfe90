"""Forms of the portal. Domain rules stay in the services; their errors are shown at the field."""
