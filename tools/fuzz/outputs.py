"""Make a run from any bytes, and check every output about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_tui.analysis import judge
from lora_tui.cli.common import snapshot_data, to_json
from lora_tui.formats.config_files import parse_training_args
from lora_tui.formats.console.parser import ConsoleParser
from lora_tui.formats.results import parse_results
from lora_tui.formats.tensorboard import EventFileParser
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.i18n import Words
from lora_tui.records.documents import FormatError, StreamParser
from lora_tui.records.updates import FileDoc, FileProblem, FileRows, RowSource, Update
from lora_tui.report.build import build
from lora_tui.report.render import box, html, markdown
from lora_tui.runs.run import Run
from lora_tui.wording.sentences import run_summary
from tools.fuzz.tfrecord import framed_record

WRITTEN, NOW = 1_750_000_000.0, 1_750_000_600.0


def check_outputs(path: Path, files: Sequence[bytes]) -> None:
    """Check the outputs of a run with these files.

    ``files``: the contents of trainer_log.jsonl, a console log, trainer_state.json, eval_results.json and
    training_args.yaml, then the payloads of an event file; the last ones may be missing.
    """
    run = Run(path)
    updates: list[Update] = []
    log, console, state, results, options, *events = [*files, *[b""] * (5 - len(files))]
    updates += stream("trainer_log.jsonl", "log", TrainerLogParser(), log)
    updates += stream("train.log", "console", ConsoleParser(), console)
    for name, parse, data in (
        ("trainer_state.json", parse_trainer_state, state),
        ("eval_results.json", lambda found: parse_results("eval_results.json", found), results),
        ("training_args.yaml", parse_training_args, options),
    ):
        try:
            updates.append(FileDoc(name, parse(data), WRITTEN))
        except FormatError as error:
            updates.append(FileProblem(name, 0, str(error)))
    if events:
        updates += stream("events.out.tfevents.1", "events", EventFileParser(), b"".join(map(framed_record, events)))
    run.apply(updates)
    check_run(run)


def stream(name: str, source: RowSource, parser: StreamParser, data: bytes) -> list[Update]:
    """Return the updates that the reader returns for an appended file."""
    rows = tuple(row for chunk in (data, b"") for row in parser.feed(chunk))
    out: list[Update] = [FileRows(name, source, rows, WRITTEN)]
    snapshot = parser.snapshot()
    if snapshot is not None:
        out.append(FileDoc(name, snapshot, WRITTEN))
    return out + [FileProblem(name, problem.line, problem.reason) for problem in parser.take_problems()]


def check_run(run: Run, now: float = NOW) -> None:
    """Check that the run can be judged and shown in every format, and that no output has control characters."""
    for language in ("en", "zh"):
        words = Words(language)
        report = build(run, now, words, judgement=judge(run, now))
        texts = [
            run_summary(run, now, words),
            to_json(snapshot_data(run, now, words), 2),
            to_json(report.to_json(), None),
            box.render(report, words),
            markdown.render(report, words),
            html.render(report, words),
        ]
        for text in texts:
            text.encode("utf-8")
            found = {char for char in text if (char < " " and char != "\n") or "\x7f" <= char <= "\x9f"}
            assert not found, found
