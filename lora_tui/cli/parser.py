"""The options of every command; shell completion is made from the same parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from lora_tui import __version__
from lora_tui.text.numbers import parse_duration

EXAMPLES = """\
examples:
  lora-tui watch ./saves/qwen2/lora        every run below, live
  lora-tui watch nohup.out                 a run by its console log
  lora-tui demo                            replayed sample runs; needs no GPU
  lora-tui ls saves --sort eval_loss       the runs as a table
  lora-tui status sft --json | jq .state   one run, for scripts
  lora-tui report sft -o sft.html          an analysis in words and charts
  lora-tui compare sft sft-long            what differs, and who wins by what
  lora-tui wait sft && ./next.sh           go on when the run has ended
  lora-tui explain perplexity              what a number or a finding means
"""

EXPRESSIONS = """
expressions:
  numbers    loss, eval_loss, lr, rewards/margins, predict_bleu-4: the last value of any metric;
             step, total_steps, epoch, fraction, elapsed_s, remaining_s, steps_per_s, tokens_per_s;
             min(eval_loss), max, first, smoothed, count, nonfinite; 1e-4, 25%, 90s, 30m, 2h, 7d
  texts      state, phase, stage, method, model, name, path, rating(eval_loss)
  tests      < <= > >= == != ; for texts == != ~ (contains); has(eval_loss), finding(critical)
  joined by  and, or, not, ( ); + - * / with spaces around them: eval_loss - loss > 0.5
  A run that lacks the number matches neither a test nor its not.
"""
"""Help on the expressions of ``--filter`` and ``--until``."""
SORT_KEYS = ("newest", "name", "state", "step", "loss", "eval_loss")
RUN_HELP = "the run's directory, its console log, or a unique name below the current directory (default: .)"
_COMPLETE_FILES = {"bash": "_shtab_compgen_files", "zsh": "_files"}
"""Shell functions that complete a path: the value of ``shtab.FILE``, without the import."""


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, or of the command ``only``, which is built in a third of the time."""
    parser = argparse.ArgumentParser(
        prog="lora-tui",
        description="The terminal cockpit for fine-tuning runs: reads what LLaMA-Factory and other Hugging Face "
        "Trainer jobs write, and changes nothing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lora-tui {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, add in _COMMANDS.items():
        if only not in _COMMANDS or name == only:
            add(commands)
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


def _complete_paths(action: argparse.Action) -> None:
    """Make shell completion offer files and directories for an argument."""
    action.complete = _COMPLETE_FILES  # type: ignore[attr-defined]  # an attribute of shtab


def _add_output(parser: argparse.ArgumentParser) -> None:
    _complete_paths(
        parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write there instead of to stdout")
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    _complete_paths(parser.add_argument("run", nargs="?", metavar="RUN", default=".", help=RUN_HELP))


def _add_poll(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--poll", action="store_true", help="look twice a second instead of waiting for file events")


def _add_glyphs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--glyphs", choices=("unicode", "ascii"), help="characters to draw with")


def _add_log(parser: argparse.ArgumentParser) -> None:
    _complete_paths(
        parser.add_argument("--log", metavar="FILE", type=Path, action="append", default=[], help="add a console log")
    )


def _add_config_file(parser: argparse.ArgumentParser) -> None:
    _complete_paths(
        parser.add_argument("--config", metavar="FILE", type=Path, help="settings to use instead of your config.toml")
    )


def _add_events(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument(
        "--on-event",
        metavar="CMD",
        help=f"run CMD in your shell when a run ends, stalls or gets a critical finding{more}; the event is JSON on "
        "its stdin, its kind and run are in $LORA_TUI_EVENT and $LORA_TUI_RUN",
    )
    parser.add_argument("--bell", action="store_true", help="ring the terminal's bell on the same events")


def _add_looks(parser: argparse.ArgumentParser) -> None:
    _add_language(parser)
    parser.add_argument("--theme", choices=("dark", "light", "ansi"), help="colours (default: the one last chosen)")
    _add_glyphs(parser)
    _complete_paths(
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
    _complete_paths(
        parser.add_argument(
            "paths", nargs="*", metavar="PATH", type=Path, help="runs, directories of runs, console logs (default: .)"
        )
    )
    parser.add_argument("--run", metavar="NAME", help="the run to show first")
    _add_log(parser)
    _add_poll(parser)
    _add_events(parser)
    _add_config_file(parser)
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
        "  lora-tui ls saves --filter 'eval_loss < 1.2 and state == finished' --since 7d\n"
        "  lora-tui ls saves --format md > runs.md\n"
        "  lora-tui ls saves --json | jq -r '.[] | select(.state == \"failed\") | .run.path'\n" + EXPRESSIONS,
    )
    _complete_paths(
        parser.add_argument("paths", nargs="*", metavar="PATH", type=Path, help="where to look (default: .)")
    )
    parser.add_argument("--sort", choices=SORT_KEYS, default="newest", help="order of the rows (default: newest)")
    parser.add_argument(
        "--filter", metavar="EXPR", help="only runs for which it holds: state == failed and eval_loss < 1.2"
    )
    parser.add_argument(
        "--since", metavar="TIME", help="only runs active since then: 30m, 12h, 7d, 2026-01-31, '2026-01-31 18:00'"
    )
    parser.add_argument("--format", choices=("text", "md", "json"), help="how to print them (default: text)")
    _add_log(parser)
    parser.add_argument("--json", action="store_true", help="the same as --format json: an array of status --json")
    _add_config_file(parser)
    _add_language(parser)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "status",
        "print a snapshot of one run",
        "  lora-tui status saves/qwen2/lora/sft\n  lora-tui status sft --json\n"
        "  lora-tui status sft --follow        a line per change\n",
    )
    _add_run(parser)
    _add_log(parser)
    parser.add_argument("--json", action="store_true", help="schema 1, strict JSON; with --follow one line a change")
    parser.add_argument("--follow", action="store_true", help="go on and print a line per change, until Ctrl-C")
    _add_poll(parser)
    _add_config_file(parser)
    _add_language(parser)


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "report",
        "write an analysis of one run: every metric with a verdict, findings, forecast or outcome",
        "  lora-tui report sft                          a box for the terminal\n"
        "  lora-tui report sft --format md -o sft.md    an analysis in Markdown\n"
        "  lora-tui report sft -o sft.html --lang zh    one file with charts, for any browser\n",
    )
    _add_run(parser)
    parser.add_argument(
        "--format", choices=("box", "md", "html", "json"), help="default: box, or what the ending of -o FILE says"
    )
    _add_output(parser)
    _add_glyphs(parser)
    _add_log(parser)
    _add_config_file(parser)
    _add_language(parser)


def _add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "compare",
        "compare runs: metrics, results, speed, what differs in the settings, who wins by which measure",
        "  lora-tui compare sft sft-long\n  lora-tui compare saves/sweep/* --format html -o sweep.html\n"
        "  lora-tui compare sft dpo --json\n",
    )
    _complete_paths(
        parser.add_argument(
            "runs", nargs="+", metavar="RUN", help="runs, directories of runs, or names below the current one"
        )
    )
    parser.add_argument("--format", choices=("text", "html", "json"), help="default: text, or what -o FILE says")
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    _add_output(parser)
    _add_log(parser)
    _add_config_file(parser)
    _add_language(parser)


def _add_wait(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "wait",
        "wait until runs have ended or a condition holds; exit code 3 if one failed, 4 after --timeout",
        "  lora-tui wait sft && lora-tui report sft\n  lora-tui wait sft dpo --any\n"
        "  lora-tui wait sft --until 'eval_loss < 1.2' --timeout 6h\n"
        "  lora-tui wait sft --on-event 'mail -s \"$LORA_TUI_RUN $LORA_TUI_EVENT\" me@example.org'\n" + EXPRESSIONS,
    )
    _complete_paths(
        parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories, or names below the current one")
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="until all have ended (the default)")
    which.add_argument("--any", action="store_true", help="until one of them has ended")
    parser.add_argument("--until", metavar="EXPR", help="until it holds: eval_loss < 1.2, step >= 500 and loss < 1")
    parser.add_argument("--timeout", metavar="TIME", type=_duration, help="give up after 90s, 30m, 6h, 2d")
    _add_poll(parser)
    _add_events(parser, " or the condition holds")
    _add_log(parser)
    _add_config_file(parser)
    _add_language(parser)


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "export",
        "print all series of a run as a table, a row per step",
        "  lora-tui export sft > sft.csv\n  lora-tui export sft --format jsonl -o sft.jsonl\n",
    )
    _add_run(parser)
    parser.add_argument("--format", choices=("csv", "jsonl"), help="default: csv, or what the ending of -o FILE says")
    _add_output(parser)
    _add_log(parser)
    _add_language(parser)


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "explain",
        "explain a metric or a finding: what it is, how it is computed and rated, what usually helps",
        "  lora-tui explain perplexity\n  lora-tui explain overfitting --lang zh\n"
        "  lora-tui explain eval_loss --run sft     with this run's own numbers\n"
        "  lora-tui explain                         all that there is to explain\n",
    )
    parser.add_argument("topic", nargs="?", metavar="METRIC|CODE", help="default: list them all")
    _complete_paths(parser.add_argument("--run", metavar="RUN", help="add why this run's number is rated as it is"))
    _add_log(parser)
    _add_config_file(parser)
    _add_language(parser)


def _add_config(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "config",
        "print the settings in effect and where each comes from",
        "  lora-tui config\n  lora-tui config --config team.toml\n"
        "  lora-tui config --path                   where your config.toml belongs\n"
        "  lora-tui config --example > config.toml  a file to start from\n",
    )
    parser.add_argument("--path", action="store_true", help="print only the path of the file that is read")
    parser.add_argument("--example", action="store_true", help="print a commented file with every setting")
    parser.add_argument("--json", action="store_true", help="for scripts")
    _add_config_file(parser)
    _add_language(parser)


def _add_completion(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands,
        "completion",
        "print a shell's completion script",
        '  eval "$(lora-tui completion bash)"\n  lora-tui completion zsh > ~/.zfunc/_lora-tui\n',
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell to complete in")


def _duration(text: str) -> float:
    """Return the seconds of a duration such as 90s, 30m, 6h, 2d; a number without a unit is in seconds."""
    found = parse_duration(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90s, 30m, 6h, 2d")
    return found


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1e4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


_COMMANDS: Mapping[str, Callable[[argparse._SubParsersAction[argparse.ArgumentParser]], None]] = {
    "watch": _add_watch,
    "demo": _add_demo,
    "ls": _add_ls,
    "status": _add_status,
    "report": _add_report,
    "compare": _add_compare,
    "wait": _add_wait,
    "export": _add_export,
    "explain": _add_explain,
    "config": _add_config,
    "completion": _add_completion,
}
