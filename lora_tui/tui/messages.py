"""All messages of the app. None of them may replace another: each carries a change, not the whole state."""

from __future__ import annotations

from textual.message import Message

from lora_tui.records.updates import Batch


class BatchRead(Message, bubble=False):
    """The reading thread finished a turn."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch


class ReadingFailed(Message, bubble=False):
    """A turn of the reading thread met an input/output error; it goes on with the next one."""

    def __init__(self, error: str) -> None:
        super().__init__()
        self.error = error


class CommandFailed(Message, bubble=False):
    """A command that the user wanted run on events has failed."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line
