"""Check properties that must hold for any input, parser by parser.

A target takes bytes and raises an exception if a property does not hold.
"""

from __future__ import annotations

import contextlib
import math
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from lora_tui.formats.config_files import (
    parse_adapter_config,
    parse_llamaboard_config,
    parse_model_card,
    parse_training_args,
)
from lora_tui.formats.console.parser import ConsoleParser, looks_like_training_log
from lora_tui.formats.json_lines import MAX_COUNT, MAX_METRICS, MAX_PROBLEMS
from lora_tui.formats.predictions import PredictionsParser
from lora_tui.formats.results import parse_results
from lora_tui.formats.tensorboard import EventFileParser
from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.query.parser import ExpressionError, parse
from lora_tui.records.documents import (
    ConfigDoc,
    ConsoleFacts,
    FormatError,
    LogRow,
    Predictions,
    Results,
    StreamParser,
    TrainerState,
)
from lora_tui.records.rows import MIN_BLOCK_ROWS
from lora_tui.settings import toml_lines as toml
from lora_tui.text.cells import cell_width, clip, fit, wrap
from lora_tui.text.sanitize import clean, escape_json, escape_markdown
from tools.fuzz.outputs import check_outputs
from tools.fuzz.tfrecord import framed_record

Target = Callable[[bytes], None]
CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, invisible characters, and characters that UTF-8 cannot encode."""
PAST, FUTURE = 0.0, 1e11
RECORD = b"|-|"
"""Separator of the records in an input, since the fuzzer cannot make the checksums of an event file."""


# -- checks of records ------------------------------------------------------------------------------------------------


def check_text(*texts: str) -> None:
    """Check that texts can be encoded as UTF-8."""
    for one in texts:
        one.encode("utf-8")


def check_numbers(values: Iterable[tuple[str, float]]) -> None:
    """Check the names of values, and that the values are plain numbers."""
    for name, value in values:
        check_text(name)
        assert type(value) in (int, float), value
        float(value)


def check_row(row: LogRow) -> None:
    """Check the types and ranges of a row."""
    assert row.kind in ("train", "eval", "mark", "progress")
    assert row.step is None or (type(row.step) is int and 0 <= row.step < MAX_COUNT), row
    assert row.total_steps is None or 0 <= row.total_steps < MAX_COUNT, row
    assert row.epoch is None or type(row.epoch) is float, row
    assert row.elapsed_s is None or 0 <= row.elapsed_s < math.inf, row
    assert row.time is None or PAST <= row.time < FUTURE, row
    assert len(row.values) <= MAX_METRICS
    check_numbers(row.values.items())


def check_doc(doc: object) -> None:
    """Check the types and ranges of a document."""
    if isinstance(doc, TrainerState):
        for row in doc.rows:
            check_row(row)
        check_numbers(doc.summary.items())
        check_text(doc.best_checkpoint or "")
        counts = (doc.global_step, doc.max_steps, doc.train_batch_size, doc.num_input_tokens_seen, doc.best_step)
        assert all(count is None or 0 <= count < MAX_COUNT for count in counts)
    elif isinstance(doc, Results):
        check_numbers(doc.values.items())
        assert len(doc.values) <= MAX_METRICS
    elif isinstance(doc, ConfigDoc):
        check_config(doc.values.items())
    elif isinstance(doc, Predictions):
        assert 0 <= doc.empty + doc.repeats + doc.echoes <= doc.count
        assert len(doc.worst) <= 6
        assert len(doc.lengths) < 1000
        check_text(*(doc.sample or {}).values(), *(part for bad in doc.worst for part in bad[2:]))
    elif isinstance(doc, ConsoleFacts):
        check_config(doc.config.items())
        check_text(doc.output_dir or "", *doc.adapters)
        assert len(doc.results) <= MAX_METRICS
        for name, block in doc.results.items():
            assert len(block) <= MAX_METRICS
            check_numbers([(name, 0.0), *block.items()])
        assert len(doc.tail) <= 12
        shown = [*doc.tail, *((doc.failure.message, *doc.failure.excerpt) if doc.failure is not None else ())]
        for line in shown:
            assert len(line) <= 500
            assert not any(char < " " or "\x7f" <= char <= "\x9f" for char in line), line
        assert doc.step is None or 0 <= doc.step < MAX_COUNT
        assert doc.total_steps is None or 0 <= doc.total_steps < MAX_COUNT


def check_config(items: Iterable[tuple[str, object]]) -> None:
    """Check the names and values of options."""
    for name, value in items:
        check_text(name)
        for one in value if isinstance(value, tuple) else (value,):
            assert one is None or isinstance(one, (str, int, float, bool)), one
            if isinstance(one, str):
                check_text(one)


# -- parsers of appended files ----------------------------------------------------------------------------------------


def feed(parser: StreamParser, *chunks: bytes) -> str:
    """Return everything that the parser returns for these chunks, as text, so that NaN equals NaN."""
    parsed: list[object] = []
    for chunk in (*chunks, b""):
        for row in parser.feed(chunk):
            check_row(row)
            parsed.append(row._replace(values=dict(sorted(row.values.items()))))
    problems = parser.take_problems()
    assert len(problems) <= MAX_PROBLEMS + 1
    for problem in problems:
        check_text(problem.reason)
    snapshot = parser.snapshot()
    check_doc(snapshot)
    return repr((parsed, problems, snapshot))


def streamed(make: Callable[[], StreamParser], data: bytes) -> None:
    """Check that two parts of an input give the same as the whole; the first byte says where to cut.

    A newline is added, since the frame of a progress bar at the end of a file is parsed before it is complete.
    """
    whole = data[1:] + b"\n"
    cut = len(whole) * data[0] // 256 if data else 0
    expected = feed(make(), whole)
    if cut:
        assert feed(make(), whole[:cut], whole[cut:]) == expected


def log_in_blocks(data: bytes) -> None:
    """Check that rows that are parsed as a block of columns give the same as each line alone."""
    lines = data.split(b"\n")
    many = [line + b"\n" for line in (lines * (1 + MIN_BLOCK_ROWS // len(lines)))[: 2 * MIN_BLOCK_ROWS]]
    assert feed(TrainerLogParser(), b"".join(many)) == feed(TrainerLogParser(), *many)


def event_file(data: bytes) -> None:
    """Feed the bytes as they are, and then each part of them as a record with correct checksums, in two chunks."""
    feed(EventFileParser(), data)
    framed = b"".join(map(framed_record, data[1:].split(RECORD)))
    cut = len(framed) * data[0] // 256 if data else 0
    feed(EventFileParser(), framed[:cut], framed[cut:])


# -- parsers of whole files ------------------------------------------------------------------------------------------


def document(parse_file: Callable[[bytes], object], data: bytes) -> None:
    """Parse a whole file, and check the document; FormatError is allowed."""
    with contextlib.suppress(FormatError):
        check_doc(parse_file(data))


def results(data: bytes) -> None:
    """Parse the bytes as a results file, under a known and an unknown name."""
    for name in ("eval_results.json", "other"):
        document(partial(parse_results, name), data)


def settings_file(data: bytes) -> None:
    """Parse the bytes as TOML; check the line numbers of the keys or of the error."""
    lines = data.count(b"\n") + 1
    try:
        tables = toml.parse(data)
    except toml.TomlError as error:
        check_text(str(error))
        found = [error.line] if error.line is not None else []
    else:
        found = list(toml.key_lines(data, tables).values())
    assert all(1 <= line <= lines for line in found), found


def expression(data: bytes) -> None:
    """Parse the bytes as an expression; check the column of an error."""
    words = data.decode("utf-8", "surrogateescape")
    column = 1
    try:
        parse(words).unknown([])
    except ExpressionError as error:
        check_text(*error.params.values())
        column = error.column
    assert 1 <= column <= len(words) + 1


# -- text --------------------------------------------------------------------------------------------------------------


def shown_text(data: bytes) -> None:
    """Check that sanitized text has no control characters and keeps its limits in characters and cells."""
    raw = data.decode("utf-8", "surrogateescape")
    for limit in (None, 20):
        text = clean(raw, limit)
        found = [char for char in text if unicodedata.category(char) in CONTROL]
        assert not found, (raw, found)
        assert clean(text, limit) == text
        assert limit is None or len(text) <= limit
        check_text(text, escape_markdown(text), escape_json(raw))
        width = data[0] % 40 if data else 10
        assert cell_width(clip(text, width)) <= width
        assert cell_width(fit(text, width)) == width
        assert all(cell_width(line) <= max(width, 4) for line in wrap(text, width))


def recognised(data: bytes) -> None:
    """Look for a training log in the bytes."""
    looks_like_training_log(data, data)


# -- whole runs --------------------------------------------------------------------------------------------------------


def shown_run(data: bytes) -> None:
    """Judge a run made of files, separated by FILE, and show it in every format."""
    check_outputs(Path("/runs/x"), data.split(FILE))


FILE = b"|=|"
"""Separator of the files of a run in an input."""

TARGETS: dict[str, Target] = {
    "trainer_log": partial(streamed, TrainerLogParser),
    "log_in_blocks": log_in_blocks,
    "console": partial(streamed, ConsoleParser),
    "tfevents": event_file,
    "predictions": partial(streamed, PredictionsParser),
    "trainer_state": partial(document, parse_trainer_state),
    "results": results,
    "adapter": partial(document, parse_adapter_config),
    "yaml": partial(document, parse_training_args),
    "board": partial(document, parse_llamaboard_config),
    "card": partial(document, parse_model_card),
    "recognise": recognised,
    "toml": settings_file,
    "expression": expression,
    "text": shown_text,
    "run": shown_run,
}
