"""The phase of a job (loading, training, evaluating, …) by the bars and messages in its console log.

Sources: the order in which LLaMA-Factory's workflows and transformers ``Trainer`` load, train, evaluate, predict and
save; the names of the bars of ``datasets`` and transformers; tqdm.
"""

from __future__ import annotations

from lora_tui.formats.console.patterns import Frame
from lora_tui.records.documents import Phase, PhaseCode

_BEFORE_TRAINING: frozenset[str | None] = frozenset({
    None, "starting", "loading_data", "converting", "tokenizing", "loading_model", "resuming",
})  # fmt: skip
_LOOPS: tuple[PhaseCode, ...] = ("evaluating", "predicting", "scoring")

_BARS: tuple[tuple[str, str, PhaseCode], ...] = (
    ("Converting format", "", "converting"),
    ("Running tokenizer", "", "tokenizing"),
    ("Tokenizing", "", "tokenizing"),
    ("Loading checkpoint shards", "", "loading_model"),
    ("Loading weights", "", "loading_model"),
    ("Generating ", " split", "loading_data"),
)
"""Start and end of the name of a bar, and the phase that it belongs to."""


class PhaseTracker:
    """Tracks the phase of the current job; the bars of training, evaluation and prediction look alike."""

    def __init__(self) -> None:
        self.code: PhaseCode | None = None
        self.completed = False
        """Whether training has ended; evaluation and prediction may follow."""
        self._done: int | None = None
        self._total: int | None = None
        self._trained = False
        self._loop_total: int | None = None
        """Total of the bar of the current evaluation or prediction, or None if not known yet."""
        self._saved_at: int | None = None

    def phase(self, step: int | None, total: int | None) -> Phase | None:
        """Return the phase, or None; ``step`` and ``total`` are the current and the total training steps."""
        if self.code is None:
            return None
        if self.code == "training":
            return Phase(self.code, step, total)
        return Phase(self.code, self._done, self._total)

    @property
    def in_loop(self) -> bool:
        """Whether an evaluation or a prediction is running."""
        return self.code in _LOOPS

    @property
    def after_training(self) -> bool:
        """Whether the job has trained and has ended."""
        return self.code == "completed" and self._trained

    # -- messages and rows ----------------------------------------------------------------------------------------

    def begin_job(self) -> None:
        """Handle the start of a process; several jobs may write to one file."""
        self._trained = False
        self._loop_total = None
        if self.code != "resuming":
            self._set("starting")

    def begin_training(self) -> None:
        """Handle the start of the training loop."""
        self._trained = True
        self._loop_total = None
        self.completed = False
        self._saved_at = None
        self._set("training")

    def begin_loop(self, code: PhaseCode) -> None:
        """Handle the start of an evaluation or prediction loop."""
        self._loop_total = None
        self._set(code)

    def log_record(self) -> None:
        """Handle a log record, the first thing that most jobs write."""
        if self.code is None:
            self._set("starting")

    def load(self, code: PhaseCode = "loading_model") -> None:
        """Handle the loading of something, which is a phase only before training."""
        if self.code in _BEFORE_TRAINING and self.code != code:
            self._set(code)

    def resume(self) -> None:
        """Handle the message that training resumes from a checkpoint."""
        self._set("resuming")

    def save(self, step: int | None) -> None:
        """Handle the message that a checkpoint is written at ``step``."""
        self._saved_at = step
        self._set("saving")

    def score(self) -> None:
        """Handle the message that metrics of predictions are computed."""
        if self.code == "predicting":
            self._set("scoring")

    def log_event(self) -> None:
        """Handle a metric dict, which ends an evaluation during training."""
        if self.code in _LOOPS and not self.completed:
            self._set("training")

    def log_row(self) -> None:
        """Handle a completed row of training or of an evaluation during training."""
        if not self.completed:
            self._set("training")

    def log_written_row(self) -> None:
        """Handle a training row with a step of its own."""
        self._trained = True
        self._set("training")

    def log_block(self, split: str) -> None:
        """Handle a metric block, which ends training, or the only loop of an evaluation or prediction job."""
        self._set("completed" if self.completed or not self._trained or split == "train" else "training")

    def log_card(self) -> None:
        """Handle the message that the model card is written, the last one of a training job."""
        if self.completed:
            self._set("completed")

    def finish(self) -> None:
        """Handle the end of training."""
        self.completed = True
        self._set("completed")

    # -- bars -----------------------------------------------------------------------------------------------------

    def note_named_frame(self, frame: Frame) -> None:
        """Handle a frame of a bar with a name, which occurs before training."""
        if self.code not in _BEFORE_TRAINING:
            return
        for begin, end, code in _BARS:
            if frame.name.startswith(begin) and frame.name.endswith(end):
                total = self._total if frame.total is None and self.code == code else frame.total
                # Each of several processes counts beyond the total of the first one.
                self._set(code, frame.done, total if total is not None and total >= frame.done else None)
                return

    def note_nested_frame(self, frame: Frame) -> None:
        """Handle a frame of a bar below the training bar, which is that of an evaluation."""
        self._loop_total = frame.total
        # The bar is drawn once more in full when it is closed, after the metrics of its evaluation.
        unfinished = frame.total is not None and frame.done < frame.total
        if self.code in _LOOPS or (self.code in ("training", "saving") and unfinished):
            self._set("predicting" if self.code == "predicting" else "evaluating", frame.done, frame.total)

    def note_loop_frame(self, frame: Frame, total: int | None, shown: Frame | None) -> bool:
        """Handle a frame during evaluation or prediction; returns whether it belongs to that loop.

        ``total`` is the total of the training bar, ``shown`` its last frame, which may be drawn once more.
        """
        known = frame.total == total
        redrawn = known and shown is not None and frame.done == shown.done > 0
        if self._loop_total is None and not redrawn:
            self._loop_total = frame.total
        if known and not self.is_loop_total(frame.total):
            return False
        self.note_known_loop_frame(frame)
        return True

    def note_known_loop_frame(self, frame: Frame) -> None:
        """Handle a frame of the bar of evaluation or prediction."""
        if self.code == "evaluating":
            self._set("evaluating", frame.done, frame.total)
        elif self.code == "predicting":
            self._set("scoring" if frame.done == frame.total else "predicting", frame.done, frame.total)

    def is_loop_total(self, total: int | None) -> bool:
        """Return whether the bar of evaluation or prediction has this total."""
        return total == self._loop_total

    def note_training_frame(self, done: int, failed: bool, is_end: bool) -> None:
        """Handle a frame of the training bar; ``is_end`` if it is the last one and no message will follow."""
        self._trained = True
        if failed or self.completed:
            return
        if is_end:
            self.finish()
        elif self.code != "saving" or self._saved_at is None or done > self._saved_at:
            self._set("training")

    def _set(self, code: PhaseCode, done: int | None = None, total: int | None = None) -> None:
        self.code = code
        self._done = done
        self._total = total
