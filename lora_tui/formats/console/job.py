"""The job behind a console log: its rows, phase, failure and options, from the parsed parts of the log."""

from __future__ import annotations

from types import MappingProxyType

from lora_tui.formats.console.failure import FailureTracker
from lora_tui.formats.console.job_options import JobOptions
from lora_tui.formats.console.metric_dicts import EventMerger, LogEvent, MetricDict, metric_values
from lora_tui.formats.console.patterns import Frame, Message, Number, parse_count
from lora_tui.formats.console.phases import PhaseTracker
from lora_tui.formats.console.steps import StepFinder, as_printed_count
from lora_tui.formats.secrets import mask_secrets, mask_text
from lora_tui.records.documents import ConsoleFacts, LogRow

_LOADED = frozenset({"quantized", "method", "trainable", "all", "weights"})
"""Kinds of message that are written while the model is loaded."""


class ConsoleJob:
    """Tracks the current job through the frames, metric dicts, messages and lines of its log, in their order."""

    def __init__(self) -> None:
        self.options = JobOptions()
        self._phases = PhaseTracker()
        self._steps = StepFinder()
        self._failures = FailureTracker()
        self._events = EventMerger()
        self._frame_since_event = True
        """Whether a training frame has come since the last logging event."""
        self._rows: list[LogRow] = []

    def take_rows(self) -> list[LogRow]:
        """Return the rows completed since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def facts(self, is_log: bool, tail: tuple[str, ...]) -> ConsoleFacts:
        """Return the facts about the job besides its rows; ``tail`` holds the last lines of the log."""
        steps, options = self._steps, self.options
        return ConsoleFacts(
            is_training_log=is_log,
            phase=self._phases.phase(steps.step, steps.total),
            failure=self._failures.failure,
            completed=self._phases.completed,
            step=steps.step,
            total_steps=steps.total,
            config=MappingProxyType(mask_secrets(options.values(self._failures.stage))),
            output_dir=options.output_dir,
            adapters=options.adapters,
            results=MappingProxyType(options.metrics()),
            tail=tuple(map(mask_text, tail)),
        )

    # -- bars -----------------------------------------------------------------------------------------------------

    def note_frame(self, frame: Frame, nested: bool) -> None:
        """Handle a complete frame of a progress bar; ``nested`` if the bar is below another."""
        phases, steps = self._phases, self._steps
        if frame.name or frame.total is None:
            phases.note_named_frame(frame)
            return
        if nested:
            phases.note_nested_frame(frame)
            return
        if phases.in_loop:
            if phases.note_loop_frame(frame, steps.total, steps.frame):
                return
        elif frame.total != steps.total:
            waits = self._events.waiting is not None
            if phases.after_training or not steps.set_total(frame.total, waits):
                return
        self._note_training_frame(frame)

    def note_unfinished_frame(self, frame: Frame, nested: bool) -> None:
        """Handle the frame at the end of a live log, which only the next frame will terminate."""
        phases, total = self._phases, frame.total
        if nested:
            self.note_frame(frame, True)
        elif phases.in_loop:
            # The last frame of the loop stays at the end of the log while the metrics are computed.
            if phases.is_loop_total(total):
                phases.note_known_loop_frame(frame)
        elif total == self._steps.total and not phases.is_loop_total(total):
            # The sequence of a nested bar may still follow, so that only the total of the training bar is trusted.
            self._note_training_frame(frame)

    def _note_training_frame(self, frame: Frame) -> None:
        """Handle a frame of the training bar."""
        steps = self._steps
        steps.note_frame(frame)
        self._frame_since_event = True
        if self._events.waiting is not None:
            self.release(frame)
        self._failures.note_progress(frame.done)
        self._phases.note_training_frame(
            frame.done, failed=self._failures.failure is not None, is_end=steps.ppo and frame.done == frame.total
        )

    # -- logging events -------------------------------------------------------------------------------------------

    def note_metrics(self, metrics: MetricDict, from_record: bool, source: str | None) -> None:
        """Handle a metric dict; ``source`` is the prefix of the rank or host that wrote it, if any."""
        line = metrics.text if source is None else f"{source}\n{metrics.text}"
        buffered = not self._frame_since_event
        event = LogEvent(metrics.kind, metrics.numbers, from_record, line, buffered, self._steps.frame)
        if not self._events.merge(event):
            self.release()
            self._phases.log_event()
            self._events.waiting = event
            self._frame_since_event = False
        waiting = self._events.waiting
        if waiting is not None and not self._steps.bars and not waiting.from_record:
            # A log without bars has no frame that could follow.
            self.release()

    def note_written_row(self, numbers: dict[str, Number]) -> None:
        """Handle a row of LLaMA-Factory's v1 trainer, which contains its step."""
        step, epoch = as_printed_count(numbers.get("step")), numbers.get("epoch")
        self._steps.note_written(step, as_printed_count(numbers.get("total_steps")))
        values = metric_values(numbers)
        self._rows.append(LogRow("train", step, values, self._steps.total, None if epoch is None else epoch.value))
        self._failures.note_progress(step)
        self._phases.log_written_row()

    def release(self, frame: Frame | None = None) -> None:
        """Turn the waiting event into a row; ``frame`` is the training frame right after it, if any."""
        event = self._events.take()
        if event is None:
            return
        step, shown = self._steps.find_step(event, frame)
        row = event.row(step, self._steps.total, None if shown is None else shown.elapsed_s)
        self._rows.append(row)
        if row.kind == "mark":
            self.options.note_summary(event.numbers)
            self._phases.finish()
            return
        self._phases.log_row()
        if row.kind == "train":
            self.options.note_row(row.values)
            # A row that comes late because stdout is buffered is older than the failure.
            if not (event.buffered and step is None):
                self._failures.note_progress(step)

    # -- lines and messages ---------------------------------------------------------------------------------------

    def note_record(self, stage: str | None) -> None:
        """Handle a log record; ``stage`` is the training stage by the name of its logger, if any."""
        self._phases.log_record()
        if stage is not None:
            self.options.config["stage"] = stage

    def note_line(self, text: str, rank: str | None, in_dump: bool) -> bool:
        """Handle a line; return whether it belongs to a traceback or names a failure.

        ``in_dump`` if the line may be part of a printed training example.
        """
        if self._failures.read_line(text, rank, self._phases.code, self._steps.frame_step, in_dump):
            self.release()
            return True
        return False

    def note_block(self, split: str) -> None:
        """Handle the head of a metric block."""
        self.release()
        self.options.begin_block(split)
        self._phases.log_block(split)

    def note_message(self, message: Message) -> None:
        """Handle a message of the trainer, other than the heads of metric blocks and printed examples."""
        kind, found = message
        phases = self._phases
        if kind == "tasks" or (kind == "rank" and found[1] == "0"):
            self._begin_job()
        self.options.note(message)
        if kind == "running":
            self._begin_loop(found[1])
        elif kind == "header":
            self._note_header(found[1], found[2])
        elif kind == "save":
            phases.save(self._steps.step)
        elif kind == "resume":
            phases.load("resuming")
        elif kind == "resumed":
            self._steps.start = int(found[1][:15])
            phases.resume()
        elif kind == "dataset":
            phases.load("loading_data")
        elif kind == "done":
            self.release()
            phases.finish()
        elif kind == "card":
            phases.log_card()
        elif kind == "scoring":
            phases.score()
        elif kind in _LOADED or (kind in ("model", "cache") and self.options.has_dataset):
            phases.load()

    def _begin_job(self) -> None:
        """Handle the start of a process, which may be that of another job in the same file."""
        self.release()
        self._failures.note_start()
        self.options.start()
        self._phases.begin_job()

    def _begin_loop(self, what: str) -> None:
        """Handle the start of a loop: "training", "Evaluation" or "Prediction"."""
        self.release()
        if what == "training":
            self._failures.note_start()
            self._steps.restart()
            self.options.results = {}
            self._events.restart()
            self._frame_since_event = True
            self._phases.begin_training()
        else:
            self._phases.begin_loop("evaluating" if what == "Evaluation" else "predicting")

    def _note_header(self, name: str, written: str) -> None:
        """Read one line of the header of a loop; ``written`` is its number as text."""
        count = parse_count(written)
        if count is not None:
            in_loop = self._phases.in_loop
            self.options.note_header(name, count, in_loop)
            if not in_loop:
                self._steps.note_header(name, count)
