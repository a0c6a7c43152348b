"""The error of settings that cannot be used."""


class SettingsError(Exception):
    """A settings file cannot be read or used; ``str()`` is one clear line that names file, line and key."""
