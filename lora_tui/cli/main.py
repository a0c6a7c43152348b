"""Run the commands. Output goes to stdout, errors to stderr; exit codes 0 done, 1 error, 2 usage (``wait`` has more).

Nothing expensive is imported here: each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from lora_tui.cli.errors import CommandError, UsageError
from lora_tui.cli.parser import build_parser
from lora_tui.settings.errors import SettingsError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of ``argv`` (default: the arguments of the process), and return the exit code."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A character that the encoding lacks is written as an escape, instead of ending in a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(argv)
        finally:
            # Flushed here and not when the interpreter exits, where a closed pipe could not be caught any more.
            sys.stdout.flush()
    except (CommandError, SettingsError) as error:
        print(f"lora-tui: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO):
            return _fail(error, argv)
        # Nothing more can be written, also not at exit. A closed pipe is no error (lora-tui ls | head).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return 0
        print(f"lora-tui: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # saved in a file and reported in one line, since users cannot use a traceback
        return _fail(error, argv)


def _fail(error: Exception, argv: Sequence[str] | None) -> int:
    """Report an error of the program itself in one line that names the file of its traceback; return the exit code.

    Where that file cannot be written, the traceback goes to stderr.
    """
    from lora_tui.i18n import Words
    from lora_tui.settings.fault_log import fault_text, record_fault, traceback_text
    from lora_tui.settings.settings import settings_language

    known = build_parser()
    args, _ = known.parse_known_args(sys.argv[1:] if argv is None else list(argv))
    fault = record_fault("command", args.command, error)
    if fault.file is None:
        print(traceback_text("command", args.command or "", error), file=sys.stderr)
    print(f"lora-tui: {fault_text(fault, Words(settings_language(args.lang)))}", file=sys.stderr)
    return 1


def _open_closed_streams() -> None:
    """Open the null device for standard streams that were closed (``<&-``).

    Otherwise the next file that is opened would get the stream's number, and with it the text written to the stream.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 stays open


def _run(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser(only=words[0] if words else None)
    args = parser.parse_args(words)
    if args.command is None:
        parser.print_help()
        return 0
    if args.command == "completion":
        import shtab

        print(shtab.complete(build_parser(), args.shell))
        return 0
    import gc

    # Garbage collection during the imports takes a tenth of the start; commands that run on enable it again.
    gc.disable()
    if args.command in ("watch", "demo"):
        from lora_tui.cli.commands import watch

        return watch.watch(args) if args.command == "watch" else watch.demo(args)
    # Each command is a module of its own, so that it does not pay for the imports of the others.
    command: Callable[[argparse.Namespace], int] = import_module(f"lora_tui.cli.commands.{args.command}").main
    return command(args)
