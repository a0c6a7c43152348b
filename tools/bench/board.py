"""Measure TensorBoard, which draws in a browser: its server alone, until it answers with the last step."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tools.bench import data, measure, rival_files

TIMEOUT_S = 150.0


class Board:
    """The TensorBoard server of an environment, and its event files below a folder."""

    def __init__(self, bin: Path, folder: Path) -> None:
        self.bin, self.folder = bin, folder
        folder.mkdir()

    def _events(self, rows: int) -> Path:
        folder = self.folder / f"rows-{rows}"
        if not folder.exists():
            folder.mkdir()
            writer = rival_files.Events(folder / rival_files.EVENTS)
            for step, loss in enumerate(data.losses(rows, 2 * rows, spikes=True), 1):
                writer.append(step, rival_files.values(step, loss, 2 * rows))
            writer.flush()
        return folder

    def load(self, rows: int) -> tuple[float, float | None, float]:
        """Return the seconds until the last step is served, the peak memory in MB, and the CPU seconds.

        Raises TimeoutError if that takes more than :data:`TIMEOUT_S` seconds or the server ends.
        """
        folder = self._events(rows)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [str(self.bin / "tensorboard"), "--logdir", str(folder), "--port", str(port), "--host", "127.0.0.1"]
        begin = time.perf_counter()
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=.&tag=train%2Floss"
            while self._last_step(url) != rows:
                if time.perf_counter() - begin > TIMEOUT_S or server.poll() is not None:
                    raise TimeoutError(f"TensorBoard did not serve step {rows}")
                time.sleep(0.02)
            taken = time.perf_counter() - begin
            return taken, measure.memory(server.pid).get("peak_rss_mb"), measure.cpu_seconds(server.pid)
        finally:
            server.terminate()
            server.wait()

    @staticmethod
    def _last_step(url: str) -> int | None:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                points = json.load(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
            # The server does not listen yet, or has not loaded the run yet.
            return None
        return int(points[-1][1]) if points else None
