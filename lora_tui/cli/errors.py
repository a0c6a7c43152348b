"""Errors that end a command with one line on stderr."""


class CommandError(Exception):
    """The command cannot do what it was asked; ``str()`` is one clear line for stderr, the exit code is 1."""


class UsageError(CommandError):
    """The command line asks for something impossible; ``str()`` is one clear line for stderr, the exit code is 2."""
