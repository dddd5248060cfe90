"""Settings: their sections and types, and how they are read from config.toml and the environment."""
