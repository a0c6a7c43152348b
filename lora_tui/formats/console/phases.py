"""What a job is doing now, as its bars and messages in a console log tell it.

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
"""How the name of a bar begins and ends, and the phase that it belongs to."""


class PhaseTracker:
    """Keeps the phase of the present job; the bars of training, evaluation and prediction look all the same."""

    def __init__(self) -> None:
        self.code: PhaseCode | None = None
        self.completed = False
        """Training reached its end; evaluation and prediction may follow."""
        self._done: int | None = None
        self._total: int | None = None
        self._trained = False
        self._loop_total: int | None = None
        """Total of the bar of evaluation or prediction."""
        self._saved_at: int | None = None

    def phase(self, step: int | None, total: int | None) -> Phase | None:
        """Return the phase; ``step`` and ``total`` are where training is."""
        if self.code is None:
            return None
        if self.code == "training":
            return Phase(self.code, step, total)
        return Phase(self.code, self._done, self._total)

    @property
    def in_loop(self) -> bool:
        """Whether an evaluation or a prediction goes on."""
        return self.code in _LOOPS

    @property
    def after_training(self) -> bool:
        """Whether the job trained and is over."""
        return self.code == "completed" and self._trained

    # -- what messages and rows tell ------------------------------------------------------------------------------

    def begin_job(self) -> None:
        """A process was started; several jobs may write to one file."""
        self._trained = False
        self._loop_total = None
        if self.code != "resuming":
            self._set("starting")

    def begin_training(self) -> None:
        """The loop of training begins."""
        self._trained = True
        self._loop_total = None
        self.completed = False
        self._saved_at = None
        self._set("training")

    def begin_loop(self, code: PhaseCode) -> None:
        """The loop of evaluation or prediction begins."""
        self._loop_total = None
        self._set(code)

    def log_record(self) -> None:
        """A record was met, the first thing that most jobs write."""
        if self.code is None:
            self._set("starting")

    def load(self, code: PhaseCode = "loading_model") -> None:
        """Something is loaded, which is a phase only before training."""
        if self.code in _BEFORE_TRAINING and self.code != code:
            self._set(code)

    def resume(self) -> None:
        """Training goes on from a checkpoint."""
        self._set("resuming")

    def save(self, step: int | None) -> None:
        """A checkpoint is written."""
        self._saved_at = step
        self._set("saving")

    def score(self) -> None:
        """Metrics of predictions are computed."""
        if self.code == "predicting":
            self._set("scoring")

    def log_event(self) -> None:
        """A metric dict was met; it ends an evaluation during training."""
        if self.code in _LOOPS and not self.completed:
            self._set("training")

    def log_row(self) -> None:
        """A row of training or of an evaluation during training was completed."""
        if not self.completed:
            self._set("training")

    def log_written_row(self) -> None:
        """A training row that carries its step was met."""
        self._trained = True
        self._set("training")

    def log_block(self, split: str) -> None:
        """A metric block was met: training, or the only loop of an evaluation or prediction, is over."""
        self._set("completed" if self.completed or not self._trained or split == "train" else "training")

    def log_card(self) -> None:
        """The model card is written, last of all."""
        if self.completed:
            self._set("completed")

    def finish(self) -> None:
        """Training reached its end."""
        self.completed = True
        self._set("completed")

    # -- what bars tell -------------------------------------------------------------------------------------------

    def note_named_frame(self, frame: Frame) -> None:
        """Take a frame of a bar with a name, as there are before training."""
        if self.code not in _BEFORE_TRAINING:
            return
        for begin, end, code in _BARS:
            if frame.name.startswith(begin) and frame.name.endswith(end):
                total = self._total if frame.total is None and self.code == code else frame.total
                # Of several processes each counts on beyond the total of the first.
                self._set(code, frame.done, total if total is not None and total >= frame.done else None)
                return

    def note_nested_frame(self, frame: Frame) -> None:
        """Take a frame of a bar below the training bar: an evaluation."""
        self._loop_total = frame.total
        # Closed behind the metrics of its evaluation, the bar is drawn once more in full.
        unfinished = frame.total is not None and frame.done < frame.total
        if self.code in _LOOPS or (self.code in ("training", "saving") and unfinished):
            self._set("predicting" if self.code == "predicting" else "evaluating", frame.done, frame.total)

    def note_loop_frame(self, frame: Frame, total: int | None, shown: Frame | None) -> bool:
        """Whether a frame met during evaluation or prediction is theirs.

        ``total`` is that of training, ``shown`` the last frame of its bar, which may be drawn once more.
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
        """Take a frame of the bar of evaluation or prediction."""
        if self.code == "evaluating":
            self._set("evaluating", frame.done, frame.total)
        elif self.code == "predicting":
            self._set("scoring" if frame.done == frame.total else "predicting", frame.done, frame.total)

    def is_loop_total(self, total: int | None) -> bool:
        """Whether the bar of evaluation or prediction has this total."""
        return total == self._loop_total

    def note_training_frame(self, done: int, failed: bool, is_end: bool) -> None:
        """Take a frame of the training bar; ``is_end``: it is the last one, and no message will tell so."""
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
