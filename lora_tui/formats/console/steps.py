"""Find the steps of the rows of a console log, since metric dicts contain none.

Sources: the header that transformers ``Trainer`` logs before training ("Num examples", "Total optimization steps", …),
tqdm's frames, the epochs in metric dicts.
"""

from __future__ import annotations

import math

from lora_tui.formats.console.metric_dicts import LogEvent
from lora_tui.formats.console.patterns import Frame, Number
from lora_tui.formats.json_lines import MAX_COUNT

_MAX_EPOCH = 10**9


class StepFinder:
    """Tracks the steps of the current training and finds the step of each logging event.

    The frame right after an event gives it exactly. Without one, the step follows from the epoch, if a header gave the
    steps per epoch, else from the frame before. Without bars and header it is None.
    """

    def __init__(self) -> None:
        self.bars = False
        """Whether the log has frames of training bars."""
        self._estimator = StepEstimator()
        self.restart()

    def restart(self) -> None:
        """Clear the steps, since another training begins."""
        self.step: int | None = None
        """Current step of training, or None."""
        self.total: int | None = None
        """Total steps of training, or None."""
        self.announced = False
        """Whether ``total`` comes from the header and not from bars."""
        self.frame: Frame | None = None
        """Last frame of the training bar, or None."""
        self.ppo = False
        """Whether the stage is ppo, whose bar is one step behind its rows."""
        self.start = 0
        """Step of the checkpoint that training resumed from, else 0."""
        self._epochs: int | None = None
        self._examples: int | None = None
        self._batch: int | None = None
        self._per_epoch: int | None = None
        self._begun = False

    @property
    def frame_step(self) -> int | None:
        """Step of the last frame, or of the last row where there are no bars."""
        return self.frame.done if self.frame is not None else self.step

    def note_header(self, name: str, count: int) -> None:
        """Read one line of the header of training."""
        if name == "Num examples":
            self._examples = count
        elif name == "Num Epochs":
            self._epochs = count
        elif name == "Num update steps per epoch":
            self._per_epoch = count
        elif name.startswith("Total train batch"):
            self._batch = count
        elif name in ("Total optimization steps", "Total training steps"):
            if count < MAX_COUNT:
                self.total = count
                self.announced = True
        elif name.startswith("Num optimization"):
            self.ppo = True

    def set_total(self, total: int, after_event: bool) -> bool:
        """Set the total steps from the ``total`` of a bar if that can be the training bar; return whether it was set.

        Without a header the training bar is the one that is redrawn right after an event (``after_event``), else the
        one with the largest total.
        """
        if self.announced or (not after_event and self.total is not None and total < self.total):
            return False
        self.total = total
        return True

    def note_frame(self, frame: Frame) -> None:
        """Handle a frame of the training bar."""
        self.bars = True
        self.frame = frame
        self.step = frame.done

    def note_written(self, step: int | None, total: int | None) -> None:
        """Handle a row that contains its step and its total."""
        self.step = step
        self.total = total if total is not None else self.total

    def find_step(self, event: LogEvent, frame: Frame | None) -> tuple[int | None, Frame | None]:
        """Return the step of an event, and the frame whose clock shows the event's time; None where unknown.

        ``frame`` is the training frame right after the event, if any. Call it once for each event, in order.
        """
        if not self._begun:
            self._estimator.begin(self._steps_per_epoch(), self.start)
            self._begun = True
        estimate = self._estimator.row(event.numbers.get("epoch")) if event.kind == "train" else None
        step, shown = self._find_step(event, frame, estimate)
        if step is not None and step >= MAX_COUNT:
            step = None
        total = as_printed_count(event.numbers.get("total_steps"))
        if total is not None and not self.announced:
            self.total = total
        if step is not None and not (self.bars and self.step is not None):
            self.step = step
        return step, shown

    def _find_step(self, event: LogEvent, frame: Frame | None, estimate: int | None) -> tuple[int | None, Frame | None]:
        """Return the same as :meth:`find_step`; ``estimate`` is the step by the epoch of the event, if known."""
        ahead = 1 if self.ppo and event.kind == "train" else 0
        written = as_printed_count(event.numbers.get("step"))
        if written is not None:
            return written, frame or event.frame
        window = self._estimator.window(event.numbers.get("epoch"))

        def fits(one: Frame) -> bool:
            return window is None or window[0] <= one.done + ahead <= window[1]

        if frame is not None and (not event.buffered or fits(frame)):
            return frame.done + ahead, frame
        before = event.frame
        if event.kind != "train":
            if before is not None and fits(before):
                return before.done, before
            if self.step is not None and (window is None or window[0] <= self.step <= window[1]):
                return self.step, None
            return (None if window is None else max(0, round((window[0] + window[1]) / 2))), None
        if before is not None and window is not None and not event.buffered and estimate == before.done + ahead:
            return estimate, before
        if estimate is not None:
            return estimate, None
        return (before.done + ahead, before) if before is not None and not event.buffered else (None, None)

    def _steps_per_epoch(self) -> float | None:
        """Return the steps per epoch by the header, or None."""
        if self._per_epoch is not None or not (self._epochs and self.total):
            return self._per_epoch
        # A streamed data set has sys.maxsize epochs.
        if self._epochs >= 10**6:
            return self.total
        if not (self._examples and self._batch):
            return None
        low, high = self._examples // self._batch, math.ceil(self._examples / self._batch)
        return low if low and low * self._epochs == self.total else high


class StepEstimator:
    """Estimates the step of a row from its epoch, for logs without progress bars (running_log.txt).

    The trainer logs at multiples of ``logging_steps``, which it does not print. The estimator keeps every number from 1
    to 1000 that explains all rows so far, so that a coarse epoch (two decimals) soon gives the exact step.
    """

    def __init__(self) -> None:
        self.steps_per_epoch: float | None = None
        self._start = 0
        self._rows = 0
        # Candidates for logging_steps, without and with logging_first_step.
        self._every: tuple[list[int], list[int]] = ([], [])

    def begin(self, steps_per_epoch: float | None, start: int) -> None:
        """Begin a training at step ``start``: 0, or that of the checkpoint from which it resumes."""
        self.steps_per_epoch = steps_per_epoch
        self._start = start
        self._rows = 0
        self._every = (list(range(1, 1001)), list(range(2, 1001)))

    def window(self, epoch: Number | None) -> tuple[float, float] | None:
        """Return the lowest and the highest step that ``epoch`` can stand for, or None if unknown."""
        if epoch is None or self.steps_per_epoch is None or not 0 <= epoch.value < _MAX_EPOCH:
            return None
        # transformers 4 rounds epochs to two decimals, and prints fewer where the last ones are 0.
        slack = min(epoch.tolerance, 0.005) * self.steps_per_epoch
        middle = epoch.value * self.steps_per_epoch
        # The last accumulation of an epoch may be short, which changes the count by up to one step.
        return middle - slack - 0.999, middle + slack + 0.999

    def row(self, epoch: Number | None) -> int | None:
        """Return the step of the next training row, of this epoch, or None. Call it once for each row, in order."""
        window = self.window(epoch)
        if window is None or epoch is None or self.steps_per_epoch is None:
            return None
        self._rows += 1
        plain, first = self._every
        self._every = (
            [n for n in plain if window[0] <= (self._start // n + self._rows) * n <= window[1]],
            [n for n in first if window[0] <= (self._first(n)) <= window[1]],
        )
        middle = epoch.value * self.steps_per_epoch
        plain, first = self._every
        if plain:
            best = min(
                plain, key=lambda n: (n % 10 != 0, n % 5 != 0, abs((self._start // n + self._rows) * n - middle))
            )
            return (self._start // best + self._rows) * best
        if first:
            best = min(first, key=lambda n: (n % 10 != 0, n % 5 != 0, abs(self._first(n) - middle)))
            return self._first(best)
        return max(1, round(middle))

    def _first(self, every: int) -> int:
        """Return the step of the current row where ``logging_steps`` is ``every`` and the first step is logged too."""
        return self._start + 1 if self._rows == 1 else (self._start // every + self._rows - 1) * every


def as_printed_count(number: Number | None) -> int | None:
    """Return a printed number as a count, or None if it cannot be one."""
    if number is None or not math.isfinite(number.value) or not 0 <= number.value < MAX_COUNT:
        return None
    return int(number.value)
