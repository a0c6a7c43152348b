r"""Console logs (nohup.out, ``*.log``, webui_subprocess.log) and LLaMA-Factory's running_log.txt.

Sources: LLaMA-Factory's loggers, ``LogCallback`` and workflows (v0.8 to v0.9.6 and its v1 trainer), transformers
``Trainer``, ``ProgressCallback`` and ``log_metrics`` (4.41 to 5.8), tqdm, Python's tracebacks, torch elastic.

Three writers share the stream: bars on stderr with ``\r`` between frames, and log records and metric dicts, which may
follow a frame without a line break. So the text is split at ``\r`` and ``\n``, control sequences are removed, and
frames, records and dicts are searched at any place of a piece.
"""

from __future__ import annotations

import re
from collections import deque

from lora_tui.formats.console.job import ConsoleJob
from lora_tui.formats.console.metric_dicts import MetricDict, MetricDictFinder
from lora_tui.formats.console.patterns import find_frame, find_message, find_v1_row
from lora_tui.formats.console.text import (
    MAX_PIECE,
    MAX_TEXT,
    NESTED,
    PieceSplitter,
    PrefixStripper,
    Record,
    UnfinishedPiece,
    clean,
    split_records,
)
from lora_tui.formats.json_lines import MAX_METRICS, Problems
from lora_tui.formats.secrets import mask_and_cut
from lora_tui.records.documents import ConsoleFacts, LogRow, Problem

TAIL_LINES = 12
"""Number of last lines of a log that are kept."""
_TAIL_WIDTH = 500
"""Number of characters kept of each of them."""

_BLOCK_LINE = r"\s+(\S.{0,120}?)\s+= +(\S.{0,80})$"
_TRAINING_LOG = (
    rb"\[(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\|[^\]\n]{1,80}\](?: \d{4}-\d\d-\d\d [\d:,]+)?(?: \S+)? >>"
    rb"| - (?:INFO|WARNING|ERROR) - (?:llamafactory|llmtuner|transformers)\."
    rb"|\{'(?:loss|eval_loss|eval_runtime|train_runtime|reward)': "
    rb"|>> epoch: \d+, step: \d+, "
    rb"|\*{5} Running (?:training|Evaluation|Prediction) \*{5}|\*{5} (?:train|eval|predict) metrics \*{5}"
    rb"|Traceback \(most recent call last\)"
)


def looks_like_training_log(head: bytes, tail: bytes) -> bool:
    """Return whether a file is the log of a training job, by its first and last bytes (64 kB each).

    It is if they hold a record of LLaMA-Factory or transformers, a metric dict, the head of a metric block, or a
    traceback (a job may die before it logs anything).
    """
    return re.search(_TRAINING_LOG, head) is not None or re.search(_TRAINING_LOG, tail) is not None


def _cut(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of a text that is masked later; masked here already where it is cut."""
    return text if len(text) <= limit else mask_and_cut(text, limit)


class ConsoleParser:
    """Incremental parser of a console log (a ``StreamParser``); keeps the last lines and an unfinished one in memory.

    A metric dict contains no step. transformers redraws the training bar right after it, and that frame shows the exact
    step, so that at most one row waits: for the frame (also an unfinished one at the end of a feed), else for the next
    record, dict or block, or for ``feed(b"")``, which means that nothing more has come. It then gets the step of its
    epoch (where a header gave the steps per epoch) or that of the frame before. Rows of a log without bars do not wait,
    except that LLaMA-Factory's rounded dict line waits for transformers' dict of the same event: the two become one row
    with the more precise of both numbers. Without bars and header the step is None. ``elapsed_s`` is the bar's clock.
    The summary dict becomes a ``mark``, and its numbers go to ``results["train"]``.

    Rows and snapshot do not depend on where the chunks end. Problems: "metric dict cut off".
    """

    def __init__(self) -> None:
        self._problems = Problems()
        self._rest = UnfinishedPiece()
        self._pieces = PieceSplitter(self._rest)
        self._prefixes = PrefixStripper()
        self._dicts = MetricDictFinder(self._problems)
        self._job = ConsoleJob()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._is_log = False
        self._block: str | None = None
        """Split of the metric block that is being read, or None."""
        self._dump = False
        """Whether a printed training example is being read, which may contain any text."""

    def feed(self, data: bytes) -> list[LogRow]:
        """Return the rows that the next bytes complete, and for empty ``data`` the row that waits."""
        if data:
            for piece in self._pieces.feed(data):
                self._read_piece(piece)
            if data.endswith((b"]", b"A")):
                self._unfinished_frame()
        else:
            self._finish_line()
        return self._job.take_rows()

    def take_problems(self) -> list[Problem]:
        """Return the problems since the last call: at most 20, and one more that counts the rest."""
        return self._problems.take()

    def snapshot(self) -> ConsoleFacts:
        """Return the facts in the log besides its rows."""
        return self._job.facts(self._is_log, tuple(self._tail))

    # -- pieces ---------------------------------------------------------------------------------------------------

    def _unfinished_frame(self) -> None:
        """Handle the frame at the end of a live log, which only the next frame will terminate."""
        raw = self._rest.text(MAX_TEXT)
        text = self._prefixes.cut(clean(raw))
        frame = find_frame(text)
        if frame is not None and not frame.name and not text[frame.end :].strip():
            self._job.note_unfinished_frame(frame, NESTED in raw)

    def _finish_line(self) -> None:
        """Read a complete metric dict at the end of the file and release the row that waits."""
        text = clean(self._rest.text()).rstrip()
        # The last line of a file may lack its newline.
        if text.endswith("}") and "{'" in text:
            self._rest.take()
            self._read_text(text)
        self._job.release()

    def _read_piece(self, raw: bytes) -> None:
        """Read the text between two line ends or carriage returns."""
        text = raw[:MAX_PIECE].decode("utf-8", "replace")
        nested = False
        if not text.isprintable():
            nested = NESTED in text
            text = clean(text)
        text = self._prefixes.cut(text.rstrip())
        if not text:
            return
        if "%|" in text or " examples [" in text:
            frame = find_frame(text)
            if frame is not None:
                self._dump = False
                self._job.note_frame(frame, nested)
                text = text[frame.end :]
        self._read_text(text)

    def _read_text(self, text: str) -> None:
        """Read a line or the text after a bar frame, without its prefix."""
        line = text.strip()
        if not line:
            return
        self._tail.append(_cut(line, _TAIL_WIDTH))
        if (joined := self._dicts.join(text)) is not None:
            self._add_metrics(joined, False)
            return
        plain, records = split_records(text)
        if plain is not None:
            self._read_plain(plain)
        for record in records:
            self._read_record(record)

    def _read_record(self, record: Record) -> None:
        """Read a record of a logger."""
        self._is_log = True
        self._dump = False
        self._block = None
        self._job.note_record(record.stage)
        message = record.message
        if "{'" in message and (found := self._dicts.find(message, self._pieces.line)) is not None:
            self._add_metrics(found, True)
            if record.from_file:
                # running_log.txt has no other line of this event.
                self._job.release()
            return
        self._job.release()
        if message.startswith("epoch: ") and (row := find_v1_row(message)) is not None:
            if len(row) <= MAX_METRICS:
                self._job.note_written_row(row)
        elif message:
            self._read_message(message[:MAX_TEXT])

    def _read_plain(self, text: str) -> None:
        """Read text that is no record: metric blocks, metric dicts, failures, training examples, messages."""
        if self._block is not None:
            metric = re.match(_BLOCK_LINE, text)
            if metric is not None:
                self._job.options.note_metric(self._block, metric[1], metric[2])
                return
            self._block = None
        if "{'" in text:
            # In a printed training example, only a line that is nothing but a training dict counts.
            if self._dump and not (text.startswith("{'") and text.endswith("}") and "'epoch'" in text):
                return
            if (found := self._dicts.find(text, self._pieces.line)) is not None:
                self._add_metrics(found, False)
                return
        elif self._dump and text[:1] == "{":
            return
        if self._job.note_line(_cut(text, MAX_TEXT), self._prefixes.rank, self._dump):
            self._is_log = True
            return
        if self._dump:
            self._job.options.note_dump(text)
        if text.lstrip()[:1] not in ('"', "{", "}", "[", "]"):
            self._read_message(text[:MAX_TEXT])

    def _add_metrics(self, found: list[MetricDict], from_record: bool) -> None:
        """Pass metric dicts to the job."""
        for metrics in found:
            self._is_log = True
            self._dump = False
            self._job.note_metrics(metrics, from_record, None if from_record else self._prefixes.source)

    def _read_message(self, text: str) -> None:
        """Read a message of a training job, if ``text`` has one."""
        message = find_message(text)
        if message is None:
            return
        if message.kind == "dump":
            self._dump = True
        elif message.kind == "block":
            self._is_log = True
            self._dump = False
            self._block = message.found[1]
            self._job.note_block(self._block)
        else:
            if message.kind == "running":
                self._dump = False
            self._job.note_message(message)
