r"""Console logs (nohup.out, ``*.log``, webui_subprocess.log) and LLaMA-Factory's running_log.txt.

Sources: LLaMA-Factory's loggers, ``LogCallback`` and workflows (v0.8 to v0.9.6 and its v1 trainer), transformers
``Trainer``, ``ProgressCallback`` and ``log_metrics`` (4.41 to 5.8), tqdm, Python's tracebacks, torch elastic.

The stream mixes three writers: bars on stderr with ``\r`` between frames, records and metric dicts glued to them. So
it is split at ``\r`` and ``\n``, each piece is cleaned of control sequences, and frames, records and dicts are looked
for where they stand.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lora_tui.formats.console_failure import FailureTracker
from lora_tui.formats.console_patterns import (
    FILE_RECORD,
    HOST,
    MAX_PIECE,
    MAX_TEXT,
    NESTED,
    OLD_RECORD,
    RANK,
    RECORD,
    Frame,
    Number,
    StepEstimator,
    clean,
    find_dict,
    find_frame,
    find_v1_row,
    more_precise,
    same,
)
from lora_tui.formats.console_settings import MAX_METRICS, MESSAGE, Settings, parse_count
from lora_tui.formats.lines import MAX_COUNT, Problems
from lora_tui.formats.records import NOTHING, ConsoleFacts, LogRow, Phase, PhaseCode, Problem, RowKind

TAIL_LINES = 12
_TAIL_WIDTH = 500
_MAX_HOSTS = 64
_MAX_DICTS = 8
"""Dicts looked for in one line."""

_NAMES = {"learning_rate": "lr", "num_input_tokens_seen": "total_tokens"}
_NOT_METRICS = frozenset({"epoch", "step", "total_steps", "percentage", "elapsed_time", "remaining_time"})
_CLOCKS = frozenset({"train_runtime", "train_tokens_per_second"})
_SUMMARY = frozenset({"train_loss", "total_flos"})
_TRAIN = frozenset({"loss", "reward", "learning_rate", "lr"})
_BESIDE = frozenset({"epoch", "step", "learning_rate", "grad_norm"})
"""A training dict has one of these beside its loss; ``{'loss': 0.1}`` alone may be anything."""

_BEFORE_TRAINING: frozenset[str | None] = frozenset({
    None, "starting", "loading_data", "converting", "tokenizing", "loading_model", "resuming",
})  # fmt: skip
_JOB_OVER: tuple[PhaseCode, ...] = ("evaluating", "predicting", "scoring")

_BLOCK_LINE = re.compile(r"\s+(\S.{0,120}?)\s+= +(\S.{0,80})$")
_LOGGER_STAGE = re.compile(r"\] (?:llamafactory|llmtuner)\.train\.(pt|rm|ppo|dpo|kto)\.")
_OURS = re.compile(
    rb"\[(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\|[^\]\n]{1,80}\](?: \d{4}-\d\d-\d\d [\d:,]+)?(?: \S+)? >>"
    rb"| - (?:INFO|WARNING|ERROR) - (?:llamafactory|llmtuner|transformers)\."
    rb"|\{'(?:loss|eval_loss|eval_runtime|train_runtime|reward)': "
    rb"|>> epoch: \d+, step: \d+, "
    rb"|\*{5} Running (?:training|Evaluation|Prediction) \*{5}|\*{5} (?:train|eval|predict) metrics \*{5}"
    rb"|Traceback \(most recent call last\)"
)


def looks_like_training_log(head: bytes, tail: bytes) -> bool:
    """Tell from the first and the last bytes of a file (64 kB each) whether it is the log of a training job.

    It is if it holds a record of LLaMA-Factory or transformers, a metric dict, the head of a metric block, or a
    traceback (a job may die before it logs anything).
    """
    return _OURS.search(head) is not None or _OURS.search(tail) is not None


@dataclass
class _Event:
    """A metric dict that waits for the bar frame behind it, which shows its step."""

    kind: RowKind
    numbers: dict[str, Number]
    from_record: bool
    """LLaMA-Factory's own dict line, which transformers' dict of the same event follows."""
    line: str | None
    glued: bool
    """No training frame since the event before: stdout was buffered, and the frames beside it are of other steps."""
    frame: Frame | None
    """The training frame before it."""


@dataclass
class _Job:
    """What is known of the present training in the log."""

    total: int | None = None
    announced: bool = False
    """``total`` is from the header, not from bars."""
    epochs: int | None = None
    examples: int | None = None
    batch: int | None = None
    per_epoch: int | None = None
    start: int = 0
    ppo: bool = False
    begun: bool = False
    """The estimator has been told."""
    frame: Frame | None = None
    eval_total: int | None = None
    trained: bool = False


class ConsoleParser:
    """Incremental parser of a console log (a ``StreamParser``); keeps no text but the last lines and an unfinished one.

    Rows: a metric dict carries no step. transformers redraws the training bar right after it, and that frame is exact,
    so at most one row waits: for the frame (the unfinished frame at the end of a feed will do), else for the next
    record, dict or block, or for ``feed(b"")``, which says that nothing more has come. It then gets the step of its
    epoch (where a header told the steps of an epoch) or of the frame before. A log without bars does not wait, except
    that LLaMA-Factory's rounded dict line waits for transformers' dict of the same event: the two become one row, each
    number the more precise of both. Without bars and header the step is ``None``. ``elapsed_s`` is the bar's clock.
    The summary dict becomes a ``mark``, its numbers go to ``results["train"]``.

    The rows and the snapshot do not depend on where the chunks end. Problems: "metric dict cut off".
    """

    def __init__(self) -> None:
        self._problems = Problems()
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._line = 1
        self._out: list[LogRow] = []
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._hosts: set[str] = set()
        self._prefix: str | None = None
        self._rank: str | None = None
        self._failures = FailureTracker()
        self._settings = Settings()
        self._steps = StepEstimator()
        self._job = _Job()
        self._pending: _Event | None = None
        self._last: _Event | None = None
        self._torn: tuple[int, str] | None = None
        self._bars = False
        self._frame_since = True
        self._is_log = False
        self._completed = False
        self._phase: Phase | None = None
        self._save_step: int | None = None
        self._step: int | None = None
        self._block: str | None = None
        self._dump = False

    def feed(self, data: bytes) -> list[LogRow]:
        """Parse the next bytes and return the rows that they complete; empty ``data`` returns the one that waits."""
        self._out = []
        if not data:
            self._idle()
            return self._out
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            self._rest.append(data[: end - 1])
            head = b"".join(self._rest)
            self._rest.clear()
            self._rest_size = 0
            lines = head.split(b"\n")
            for number, line in enumerate(lines):
                if number:
                    self._line += 1
                if b"\r" in line:
                    for piece in line.split(b"\r"):
                        if piece:
                            self._piece(piece)
                elif line:
                    self._piece(line)
            if data[end - 1] == 0x0A:
                self._line += 1
        self._keep(data[end:] if end else data)
        if data.endswith((b"]", b"A")):
            self._unfinished_frame()
        return self._out

    def take_problems(self) -> list[Problem]:
        """Return the problems since the last call (at most 20 and one that counts the rest)."""
        return self._problems.take()

    def snapshot(self) -> ConsoleFacts:
        """Return what the log says beside its rows."""
        phase, job = self._phase, self._job
        if phase is not None and phase.code == "training":
            phase = replace(phase, done=self._step, total=job.total)
        results = {
            split: MappingProxyType({key: number.value for key, number in numbers.items()})
            for split, numbers in self._settings.results.items()
        }
        return ConsoleFacts(
            is_training_log=self._is_log,
            phase=phase,
            failure=self._failures.failure,
            completed=self._completed,
            step=self._step,
            total_steps=job.total,
            config=MappingProxyType(self._settings.values(self._failures.stage)),
            output_dir=self._settings.output_dir,
            adapters=self._settings.adapters,
            results=MappingProxyType(results),
            tail=tuple(self._tail),
        )

    # -- pieces ---------------------------------------------------------------------------------------------------

    def _keep(self, rest: bytes) -> None:
        room = MAX_PIECE - self._rest_size
        if rest and room > 0:
            self._rest.append(rest[:room])
            self._rest_size += min(room, len(rest))

    def _unfinished_frame(self) -> None:
        """A live log ends in a frame that only the next one will terminate: its step is known now."""
        if self._rest_size > MAX_TEXT:
            return
        raw = b"".join(self._rest).decode("utf-8", "replace")
        text = self._unprefixed(clean(raw))
        frame = find_frame(text)
        if frame is None or frame.name or text[frame.end :].strip():
            return
        if raw.endswith(NESTED):
            self._frame(frame, True)
        elif self._code in _JOB_OVER:
            # Its last frame stands there all the time that the metrics are computed.
            if frame.total == self._job.eval_total:
                self._looped(self._code, frame)
        elif frame.total == self._job.total != self._job.eval_total:
            # The mark of a nested bar may still follow, so only the training bar's own total is believed.
            self._training_frame(frame)

    def _idle(self) -> None:
        text = clean(b"".join(self._rest).decode("utf-8", "replace")).rstrip()
        # The last line of a file may lack its newline.
        if text.endswith("}") and "{'" in text:
            self._rest.clear()
            self._rest_size = 0
            self._text(text)
        self._release(None)

    def _piece(self, raw: bytes) -> None:
        text = raw[:MAX_PIECE].decode("utf-8", "replace")
        nested = False
        if not text.isprintable():
            nested = NESTED in text
            text = clean(text)
        text = self._unprefixed(text.rstrip())
        if not text:
            return
        if "%|" in text or " examples [" in text:
            frame = find_frame(text)
            if frame is not None:
                self._dump = False
                if frame.name:
                    self._named_frame(frame)
                else:
                    self._frame(frame, nested)
                text = text[frame.end :]
                if not text.strip():
                    return
        self._text(text)

    def _unprefixed(self, text: str) -> str:
        """Cut off what launchers put before each line of a rank or a host."""
        self._rank = self._prefix = None
        if text[:1] in ("[", "(") and (match := RANK.match(text)) is not None:
            self._rank = match[1]
            self._prefix = match[0]
            text = text[match.end() :]
        if self._hosts:
            host, colon, behind = text.partition(": ")
            if colon and host in self._hosts:
                self._prefix = host
                return behind
        if (match := HOST.match(text)) is not None and len(self._hosts) < _MAX_HOSTS:
            self._hosts.add(match[1])
            self._prefix = match[1]
            return text[match.end() :]
        return text

    def _text(self, text: str) -> None:
        line = text.strip()
        if not line:
            return
        self._tail.append(line[:_TAIL_WIDTH])
        if self._torn is not None and self._join_torn(text):
            return
        head = text if len(text) <= MAX_TEXT else text[:MAX_TEXT]
        starts = [match.start() for match in RECORD.finditer(head)] if "|" in head else []
        if starts:
            if starts[0]:
                self._plain(text[: starts[0]].rstrip())
            for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
                self._record(text[start:end])
        elif (old := OLD_RECORD.match(head)) is not None:
            self._message_of_record(text[old.end() :], False, old[0])
        else:
            self._plain(text)

    def _record(self, record: str) -> None:
        mark = record.find(" >>")
        self._message_of_record(record[mark + 4 :] if mark >= 0 else record, bool(FILE_RECORD.match(record)), record)

    def _message_of_record(self, message: str, from_file: bool, head: str) -> None:
        self._is_log = True
        self._dump = False
        self._block = None
        if self._phase is None:
            self._phase = Phase("starting")
        if (stage := _LOGGER_STAGE.search(head[:200])) is not None:
            self._settings.config["stage"] = stage[1]
        if "{'" in message and self._dicts(message, True):
            if from_file:
                # running_log.txt has nothing but this line of the event.
                self._release(None)
            return
        self._release(None)
        if message.startswith("epoch: ") and (row := find_v1_row(message)) is not None:
            self._v1_row(row)
        elif message:
            self._message(message[:MAX_TEXT])

    def _plain(self, text: str) -> None:
        if self._block is not None:
            match = _BLOCK_LINE.match(text)
            if match is not None:
                self._settings.note_metric(self._block, match[1], match[2])
                return
            self._block = None
        if text[:1] == "{" or "{'" in text:
            # In a printed training example only a line that is nothing but a training dict is believed.
            if self._dump and not (text.startswith("{'") and text.endswith("}") and "'epoch'" in text):
                return
            if self._dicts(text, False):
                return
        code = self._code
        if self._failures.line(text[:MAX_TEXT], self._rank, code, self._frame_step, self._dump):
            self._is_log = True
            self._release(None)
            return
        if self._dump:
            self._settings.note_dump(text)
        if text.lstrip()[:1] in ('"', "{", "}", "[", "]"):
            return
        self._message(text[:MAX_TEXT])

    # -- metric dicts ---------------------------------------------------------------------------------------------

    def _join_torn(self, text: str) -> bool:
        """Complete a dict of which a full stdout buffer brought only the first half before text of stderr."""
        if self._torn is None or not text.endswith("}") or len(text) < 2 or text.lstrip().startswith("{"):
            return False
        number, half = self._torn
        self._torn = None
        if self._dicts(half + text.lstrip(), False):
            return True
        self._torn = number, half
        return False

    def _dicts(self, text: str, from_record: bool) -> bool:
        found = False
        start = text.find("{'")
        for _ in range(_MAX_DICTS):
            if start < 0:
                break
            parsed = find_dict(text, start)
            if parsed is None:
                if "}" not in text[start:] and re.match(r"\{'(?:loss|eval_\w+|reward)':", text[start:]):
                    self._torn = (self._line, text[start:][:MAX_TEXT])
                    return True
                start = text.find("{'", start + 2)
                continue
            found = self._event(parsed.numbers, from_record, text[start : parsed.end]) or found
            start = text.find("{'", parsed.end)
        return found

    def _event(self, numbers: dict[str, Number], from_record: bool, line: str) -> bool:
        kind = _classify(numbers)
        if kind is None or len(numbers) > MAX_METRICS:
            return False
        self._is_log = True
        self._dump = False
        if self._torn is not None:
            self._problems.add(self._torn[0], "metric dict cut off")
            self._torn = None
        if not from_record and self._prefix is not None:
            line = f"{self._prefix}\n{line}"
        event = _Event(kind, numbers, from_record, line, not self._frame_since, self._job.frame)
        twin = self._pending or self._last
        if twin is not None and _same_event(twin, event):
            if twin is self._pending:
                for key, number in numbers.items():
                    twin.numbers[key] = more_precise(twin.numbers.get(key), number)
                twin.from_record = False
                twin.line = line
                self._settle()
            return True
        self._release(None)
        if self._code in _JOB_OVER and not self._completed:
            self._set("training")
        self._pending = event
        self._frame_since = False
        self._settle()
        return True

    def _settle(self) -> None:
        """Let the pending row go at once where no frame will come for it."""
        if self._pending is not None and not self._bars and not self._pending.from_record:
            self._release(None)

    def _release(self, frame: Frame | None) -> None:
        """Turn the pending event into a row; ``frame`` is the training frame right behind it."""
        event, self._pending = self._pending, None
        if event is None:
            return
        self._last = event
        job = self._job
        numbers = event.numbers
        epoch = numbers.get("epoch")
        if not job.begun:
            self._begin()
        estimate = self._steps.row(epoch) if event.kind == "train" else None
        step, shown = self._step_of(event, frame, estimate)
        total = _whole(numbers.get("total_steps"))
        if total is not None and not job.announced:
            job.total = total
        values: dict[str, float] = {}
        if event.kind == "mark":
            self._settings.note_summary(numbers)
        else:
            for key, number in numbers.items():
                if key not in _NOT_METRICS and (event.kind != "train" or key not in _CLOCKS):
                    values[_NAMES.get(key, key)] = number.value
            if event.kind == "train" and "rewards/accuracies" in values:
                values.setdefault("accuracy", values["rewards/accuracies"])
            if event.kind == "train":
                self._settings.note_row(values)
        self._out.append(
            LogRow(
                event.kind,
                step,
                values or NOTHING,
                job.total,
                epoch.value if epoch is not None else None,
                shown.elapsed_s if shown is not None else None,
            )
        )
        if step is not None and not (self._bars and self._step is not None):
            self._step = step
        # What a buffered stdout brings late is older than the failure.
        if event.kind == "train" and not (event.glued and step is None):
            self._failures.progress(step)
        if event.kind == "mark":
            self._completed = True
            self._set("completed")
        elif not self._completed:
            self._set("training")

    def _step_of(self, event: _Event, frame: Frame | None, estimate: int | None) -> tuple[int | None, Frame | None]:
        """Return the step of a row and the frame whose clock is the row's."""
        ahead = 1 if self._job.ppo and event.kind == "train" else 0
        written = _whole(event.numbers.get("step"))
        if written is not None:
            return written, frame or event.frame
        window = self._steps.window(event.numbers.get("epoch"))

        def fits(one: Frame) -> bool:
            return window is None or window[0] <= one.done + ahead <= window[1]

        if frame is not None and (not event.glued or fits(frame)):
            return frame.done + ahead, frame
        before = event.frame
        if event.kind != "train":
            if before is not None and fits(before):
                return before.done, before
            if self._step is not None and (window is None or window[0] <= self._step <= window[1]):
                return self._step, None
            return (None if window is None else max(0, round((window[0] + window[1]) / 2))), None
        if before is not None and window is not None and not event.glued and estimate == before.done + ahead:
            return estimate, before
        if estimate is not None:
            return estimate, None
        return (before.done + ahead, before) if before is not None and not event.glued else (None, None)

    def _v1_row(self, numbers: dict[str, Number]) -> None:
        step, total = _whole(numbers.get("step")), _whole(numbers.get("total_steps"))
        epoch = numbers.get("epoch")
        values = {_NAMES.get(key, key): one.value for key, one in numbers.items() if key not in _NOT_METRICS}
        self._job.total = total if total is not None else self._job.total
        self._job.trained = True
        self._out.append(LogRow("train", step, values, self._job.total, None if epoch is None else epoch.value))
        self._step = step
        self._failures.progress(step)
        self._set("training")

    # -- bars -----------------------------------------------------------------------------------------------------

    def _frame(self, frame: Frame, nested: bool) -> None:
        if frame.total is None or max(frame.done, frame.total) >= MAX_COUNT:
            return
        job, code = self._job, self._code
        known = frame.total == job.total
        if nested:
            job.eval_total = frame.total
            # Closed behind the metrics of its evaluation, the bar is drawn once more in full.
            if code in _JOB_OVER or (code in ("training", "saving") and frame.done < frame.total):
                self._set("predicting" if code == "predicting" else "evaluating", frame.done, frame.total)
            return
        if code in _JOB_OVER:
            if job.eval_total is None and not (known and job.frame is not None and frame.done == job.frame.done > 0):
                job.eval_total = frame.total
            if frame.total == job.eval_total or not known:
                self._looped(code, frame)
                return
        elif not known:
            if job.announced or (code == "completed" and job.trained):
                return
            # Without a header: the bar that is redrawn behind a metric dict, else the longest.
            if self._pending is None and job.total is not None and frame.total < job.total:
                return
            job.total = frame.total
        self._training_frame(frame)

    def _looped(self, code: str | None, frame: Frame) -> None:
        if code == "evaluating":
            self._set("evaluating", frame.done, frame.total)
        elif code == "predicting":
            self._set("scoring" if frame.done == frame.total else "predicting", frame.done, frame.total)

    def _training_frame(self, frame: Frame) -> None:
        job, code = self._job, self._code
        self._bars = True
        job.trained = True
        job.frame = frame
        self._step = frame.done
        self._frame_since = True
        self._release(frame)
        self._failures.progress(frame.done)
        if self._failures.failure is not None or self._completed:
            return
        if job.ppo and frame.done == frame.total:
            # Its trainer announces no end.
            self._completed = True
            self._set("completed")
        elif code != "saving" or self._save_step is None or frame.done > self._save_step:
            self._set("training")

    def _named_frame(self, frame: Frame) -> None:
        if self._code not in _BEFORE_TRAINING:
            return
        name = frame.name
        code: PhaseCode
        if name.startswith("Converting format"):
            code = "converting"
        elif name.startswith(("Running tokenizer", "Tokenizing")):
            code = "tokenizing"
        elif name.startswith(("Loading checkpoint shards", "Loading weights")):
            code = "loading_model"
        elif name.startswith("Generating ") and name.endswith(" split"):
            code = "loading_data"
        else:
            return
        total = frame.total
        if total is None and self._phase is not None and self._phase.code == code:
            total = self._phase.total
        # Of several processes each counts on beyond the total of the first.
        self._set(code, frame.done, total if total is not None and total >= frame.done else None)

    # -- messages -------------------------------------------------------------------------------------------------

    @property
    def _code(self) -> PhaseCode | None:
        return self._phase.code if self._phase is not None else None

    @property
    def _frame_step(self) -> int | None:
        return self._job.frame.done if self._job.frame is not None else self._step

    def _set(self, code: PhaseCode, done: int | None = None, total: int | None = None) -> None:
        self._phase = Phase(code, done, total)

    def _loading(self, code: PhaseCode = "loading_model") -> None:
        if self._code in _BEFORE_TRAINING and self._code != code:
            self._set(code)

    def _message(self, text: str) -> None:
        match = MESSAGE.search(text)
        if match is None:
            return
        key = match.lastgroup or ""
        found = match.groupdict()
        if found["running"]:
            self._running(found["running"])
        elif found["block"]:
            self._begin_block(found["block"])
        elif found["number"]:
            self._header(found["number"], found["count"])
        elif key in ("save", "figure", "prediction", "saved", "resume"):
            self._settings.note_directory(key, found[key].strip())
            if key == "resume":
                self._loading("resuming")
            elif key == "save":
                self._save_step = self._step
                self._set("saving")
        elif key in ("resumed", "continued"):
            self._job.start = int(found[key][:15])
            self._set("resuming")
        elif found["dataset"]:
            self._settings.add_dataset(found["dataset"])
            self._loading("loading_data")
        elif found["rank"] or found["tasks"]:
            self._start(found)
        elif key == "dump":
            self._dump = True
        elif key == "maximum":
            self._settings.limited = True
        elif key == "done":
            self._release(None)
            self._completed = True
            self._set("completed")
        elif key == "card":
            # The model card is written last.
            if self._completed:
                self._set("completed")
        elif key == "scoring":
            if self._code == "predicting":
                self._set("scoring")
        elif found["adapters"]:
            self._settings.adapters = tuple(part.strip() for part in found["adapters"].split(",") if part.strip())
        elif found["model"] or found["cache"]:
            self._settings.note_model(found["model"], found["cache"])
            if self._settings.has_dataset:
                self._loading()
        else:
            self._settings.note(found)
            self._loading()

    def _start(self, found: Mapping[str, str | None]) -> None:
        if found["tasks"] or found["rank"] == "0":
            # Several jobs may write to one file.
            self._release(None)
            self._failures.started()
            self._settings.start()
            self._job.trained = False
            self._job.eval_total = None
            if self._code != "resuming":
                self._set("starting")
        devices = parse_count(found["world"] or found["tasks"])
        if devices:
            self._settings.config["num_devices"] = devices
        dtype = found["dtype"]
        if dtype and dtype != "None":
            self._settings.config["compute_dtype"] = dtype.removeprefix("torch.")

    def _running(self, what: str) -> None:
        self._release(None)
        self._dump = False
        if what == "training":
            self._failures.started()
            self._job = _Job(trained=True)
            self._settings.results = {}
            self._last = None
            self._frame_since = True
            self._completed = False
            self._save_step = self._step = None
            self._set("training")
        else:
            self._job.eval_total = None
            self._set("evaluating" if what == "Evaluation" else "predicting")

    def _header(self, name: str, text: str) -> None:
        count = parse_count(text)
        if count is None:
            return
        evaluating = self._code in _JOB_OVER
        self._settings.note_header(name, count, evaluating)
        job = self._job
        if evaluating:
            return
        if name == "Num examples":
            job.examples = count
        elif name == "Num Epochs":
            job.epochs = count
        elif name == "Num update steps per epoch":
            job.per_epoch = count
        elif name.startswith("Total train batch"):
            job.batch = count
        elif name in ("Total optimization steps", "Total training steps"):
            job.total = count
            job.announced = True
        elif name.startswith("Num optimization"):
            job.ppo = True

    def _begin(self) -> None:
        job = self._job
        per_epoch: float | None = job.per_epoch
        if per_epoch is None and job.epochs and job.total:
            if job.epochs >= 10**6:
                per_epoch = job.total
            elif job.examples and job.batch:
                low, high = job.examples // job.batch, math.ceil(job.examples / job.batch)
                per_epoch = low if low and low * job.epochs == job.total else high
        self._steps.begin(per_epoch, job.start)
        job.begun = True

    def _begin_block(self, split: str) -> None:
        self._release(None)
        self._dump = False
        self._is_log = True
        self._block = split
        if split != "train":
            self._settings.results[split] = {}
        if self._completed or not self._job.trained or split == "train":
            self._set("completed")
        else:
            self._set("training")


def _classify(numbers: Mapping[str, Number]) -> RowKind | None:
    """Tell what a dict of numbers logs, ``None`` if it is no metric dict."""
    if not _SUMMARY.isdisjoint(numbers):
        return "mark" if "epoch" in numbers or "train_runtime" in numbers else None
    if not _TRAIN.isdisjoint(numbers):
        return "train" if len(numbers) > 1 and not _BESIDE.isdisjoint(numbers) else None
    if any(key.startswith("eval_") for key in numbers):
        return "eval"
    return None


def _same_event(one: _Event, two: _Event) -> bool:
    """Whether two dicts tell one event: LLaMA-Factory's line and transformers', or copies of several hosts."""
    if one.kind != two.kind:
        return False
    if one.from_record == two.from_record:
        if one.line is None or two.line is None or one.from_record:
            return False
        # Two equal dicts of one writer are two events of a dead run.
        return one.line != two.line and one.line.rpartition("\n")[2] == two.line.rpartition("\n")[2]
    if one.kind != "train":
        return False
    shared = [key for key in ("epoch", "loss", "learning_rate", "reward") if key in one.numbers and key in two.numbers]
    return {"epoch", "loss"} <= set(shared) and all(same(one.numbers[key], two.numbers[key]) for key in shared)


def _whole(number: Number | None) -> int | None:
    if number is None or not math.isfinite(number.value) or not 0 <= number.value < MAX_COUNT:
        return None
    return int(number.value)
