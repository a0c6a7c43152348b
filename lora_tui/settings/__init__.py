"""Load and check the user's config.toml, save the choices made in the app, and keep tracebacks of own errors."""
