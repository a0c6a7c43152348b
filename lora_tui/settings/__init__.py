"""The user's config.toml: its schema, how it is loaded, and the choices that the app saves."""
