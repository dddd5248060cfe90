"""All client connections of a worker: registry, detection of closed clients, socket control."""
