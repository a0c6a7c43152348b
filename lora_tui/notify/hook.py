"""Run the user's command (``--on-event``) in the background."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO

from lora_tui.formats.secrets import mask_text
from lora_tui.i18n import Words
from lora_tui.text.sanitize import clean

MAX_PARALLEL = 8
"""The most commands that run at the same time; further ones wait in a queue."""


class Hook:
    """Run the user's command once for each event, in background threads; only :meth:`close` waits for them.

    The command is a line for the user's own shell. Nothing that comes from a file becomes part of that line: the event
    is JSON on the command's stdin, and ``LORA_TUI_EVENT`` and ``LORA_TUI_RUN`` (the run's name without control
    characters) are in its environment.

    ``output`` is the file that the command's output goes to; with ``None`` it is discarded. ``report_failure`` is
    called with one line when a command fails, from another thread, and not with the same line twice in a row.
    """

    def __init__(
        self, command: str, words: Words, report_failure: Callable[[str], object], output: IO[bytes] | None = None
    ) -> None:
        self._command = command
        self._words = words
        self._report_failure = report_failure
        self._output = output
        self._last_failure = ""
        self._queue: deque[tuple[str, dict[str, str]]] = deque()
        self._workers = 0
        self._workers_changed = threading.Condition()

    def start(self, text: str, environment: Mapping[str, str]) -> None:
        """Run the command with ``text`` on its stdin, as soon as fewer than :data:`MAX_PARALLEL` run."""
        with self._workers_changed:
            self._queue.append((text, {**os.environ, **environment}))
            if self._workers < MAX_PARALLEL:
                self._workers += 1
                threading.Thread(target=self._work, name="event", daemon=True).start()

    def close(self, patience_s: float) -> int:
        """Wait at most ``patience_s`` seconds for running commands and drop those in the queue.

        Return how many still run; they are left to end by themselves.
        """
        with self._workers_changed:
            self._workers_changed.wait_for(lambda: not self._workers, patience_s)
            self._queue.clear()
            return self._workers

    def _work(self) -> None:
        while True:
            with self._workers_changed:
                if not self._queue:
                    self._workers -= 1
                    self._workers_changed.notify_all()
                    return
                text, environment = self._queue.popleft()
            failure = self._run(text, environment)
            if failure and failure != self._last_failure:
                self._last_failure = failure
                self._report_failure(failure)

    def _run(self, text: str, environment: Mapping[str, str]) -> str:
        """Run the command to its end and return what went wrong in one line, or an empty text."""
        from tempfile import TemporaryFile

        shell = os.environ.get("SHELL", "")
        shell = shell if os.access(shell, os.X_OK) else "/bin/sh"
        try:
            # Files instead of pipes: a command that reads nothing or prints much can neither block nor be blocked.
            with TemporaryFile() as stdin, TemporaryFile() as errors:
                stdin.write(text.encode())
                stdin.seek(0)
                # In a session of its own, neither Ctrl-C nor the end of the terminal reaches the command.
                process = subprocess.Popen(
                    [shell, "-c", self._command], stdin=stdin, env=environment, start_new_session=True,
                    stdout=self._output or subprocess.DEVNULL, stderr=self._output or errors,
                )  # fmt: skip
                code = process.wait()
                if code == 0:
                    return ""
                errors.seek(0)
                lines = errors.read(1 << 20).decode("utf-8", "replace").strip().splitlines()
        except OSError as error:
            return self._words.t("cli.event.error", reason=error.strerror or str(error))
        last = clean(mask_text(lines[-1]), 200) if lines else ""
        return self._words.t("cli.event.failed_saying" if last else "cli.event.failed", code=code, said=last)
