"""The commands. stdout is output, stderr is diagnostics; exit codes 0 done, 1 cannot, 2 usage.

Nothing heavy is imported here: each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lora_tui import __version__
from lora_tui.errors import CommandError

EXAMPLES = """\
examples:
  lora-tui watch ./saves/qwen2/lora        every run below, live
  lora-tui watch nohup.out                 a run by its console log
  lora-tui demo                            replayed sample runs; needs no GPU
  lora-tui ls saves --sort eval_loss       the runs as a table
  lora-tui status sft --json | jq .state   one run, for scripts
"""

SORT_KEYS = ("newest", "name", "state", "step", "loss", "eval_loss")
RUN_HELP = "the run's directory, its console log, or a unique name below the current directory (default: .)"
FILES = {"bash": "_shtab_compgen_files", "zsh": "_files"}
"""What the shell's completion offers for a path (``shtab.FILE``, without the import)."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; also what shell completion is made from."""
    parser = argparse.ArgumentParser(
        prog="lora-tui",
        description="The terminal cockpit for fine-tuning runs: reads what LLaMA-Factory and other Hugging Face "
        "Trainer jobs write, and changes nothing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lora-tui {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_watch(commands)
    _add_demo(commands)
    _add_ls(commands)
    _add_status(commands)
    _add_completion(commands)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, examples: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_language(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lang", choices=("auto", "en", "zh"), default="auto", help="language (default: auto)")


def _paths(action: argparse.Action) -> None:
    """Let completion offer files and directories."""
    action.complete = FILES  # type: ignore[attr-defined]  # shtab's own way


def _add_log(parser: argparse.ArgumentParser) -> None:
    _paths(
        parser.add_argument("--log", metavar="FILE", type=Path, action="append", default=[], help="add a console log")
    )


def _add_looks(parser: argparse.ArgumentParser) -> None:
    _add_language(parser)
    parser.add_argument("--theme", choices=("dark", "light", "ansi"), help="colours (default: the one last chosen)")
    parser.add_argument("--glyphs", choices=("unicode", "ascii"), default="unicode", help="characters to draw with")
    _paths(
        parser.add_argument("--screenshot", metavar="FILE", type=Path, help="write the first full screen as SVG, leave")
    )


def _add_watch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "watch",
        "watch every run below the paths, live",
        "  lora-tui watch ./saves/qwen2/lora\n"
        "  lora-tui watch saves outputs --lang zh\n"
        "  lora-tui watch saves/sft --log nohup.out   a console log kept elsewhere\n"
        "  lora-tui watch /mnt/nfs/saves --poll       where file events do not come\n",
    )
    _paths(
        parser.add_argument(
            "paths", nargs="*", metavar="PATH", type=Path, help="runs, directories of runs, console logs (default: .)"
        )
    )
    parser.add_argument("--run", metavar="NAME", help="the run to show first")
    _add_log(parser)
    parser.add_argument("--poll", action="store_true", help="look twice a second instead of waiting for file events")
    _add_looks(parser)


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "demo",
        "replay sample runs live into a temporary directory and watch them",
        "  lora-tui demo\n  lora-tui demo --speed 3 --lang zh\n",
    )
    parser.add_argument("--speed", type=_positive, default=1.0, help="how many times faster than usual (default: 1)")
    _add_looks(parser)


def _add_ls(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "ls",
        "list the runs below the paths, newest first",
        "  lora-tui ls saves\n  lora-tui ls saves --sort eval_loss\n"
        "  lora-tui ls saves --json | jq -r '.[] | select(.state == \"failed\") | .run.path'\n",
    )
    _paths(parser.add_argument("paths", nargs="*", metavar="PATH", type=Path, help="where to look (default: .)"))
    parser.add_argument("--sort", choices=SORT_KEYS, default="newest", help="order of the rows (default: newest)")
    _add_log(parser)
    parser.add_argument("--json", action="store_true", help="an array of what status --json prints")
    _add_language(parser)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "status",
        "print a snapshot of one run",
        "  lora-tui status saves/qwen2/lora/sft\n  lora-tui status sft --json\n"
        "  lora-tui status sft --follow        a line per change\n",
    )
    _paths(parser.add_argument("run", nargs="?", metavar="RUN", default=".", help=RUN_HELP))
    _add_log(parser)
    parser.add_argument("--json", action="store_true", help="schema 1, strict JSON; with --follow one line a change")
    parser.add_argument("--follow", action="store_true", help="go on and print a line per change, until Ctrl-C")
    parser.add_argument("--poll", action="store_true", help="look twice a second instead of waiting for file events")
    _add_language(parser)


def _add_completion(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "completion",
        "print a shell's completion script",
        '  eval "$(lora-tui completion bash)"\n  lora-tui completion zsh > ~/.zfunc/_lora-tui\n',
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell to complete in")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1e4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or a file that cannot take a character gets its number, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(argv)
        finally:
            # Here, not at the interpreter's exit, where a closed pipe could no longer be caught.
            if sys.stdout is not None:
                sys.stdout.flush()
    except CommandError as error:
        print(f"lora-tui: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        # Nothing more can go out, at exit neither. A closed pipe is a reader that has seen enough (lora-tui ls | head).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return 0
        print(f"lora-tui: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    if args.command == "completion":
        import shtab

        print(shtab.complete(parser, args.shell))
        return 0
    import gc

    # Collecting during the imports costs a tenth of the start; what goes on for longer turns it on again.
    gc.disable()
    if args.command in ("ls", "status"):
        from lora_tui import commands

        return commands.ls(args) if args.command == "ls" else commands.status(args)
    from lora_tui import launch

    return launch.watch(args) if args.command == "watch" else launch.demo(args)


if __name__ == "__main__":
    sys.exit(main())
