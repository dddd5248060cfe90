"""Settings: sections, types, and reading them from config.toml and the environment."""
