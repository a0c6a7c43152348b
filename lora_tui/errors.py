"""What a command says when it cannot do what it was asked."""


class CommandError(Exception):
    """The command cannot go on; ``str()`` is one clear line for stderr, and the exit code is 1."""


class UsageError(CommandError):
    """The command line asks for what cannot be; ``str()`` is one clear line for stderr, and the exit code is 2."""
