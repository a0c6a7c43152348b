"""Replay sample runs live into a directory, file by file as the producer writes them.

    python -m lora_tui.demo.replay DIR [--speed X] [--samples DIR] [--parent PID]

It runs in a separate process, so that the app sees only changes of files, as with a real job. It needs the standard
library alone, imports nothing of lora_tui, and nothing of lora_tui imports it. It prints
``ready`` once the past of every run is written, ends when all is written or its parent has ended, and removes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal

TICK_S = 0.2
"""Seconds between two checks whether the parent is alive."""
EVAL_ROWS = 2.0
"""Length of an evaluation as a number of training rows, for runs with a fixed time per row."""
FILE_GAP_S = 0.02
"""Seconds between two files that the trainer writes one after the other."""
EVAL_S = 2.0
"""Length of the evaluation after training, seconds."""
PREDICT_START_S = 8.0
"""Seconds that the second job takes for its imports and data."""
PREDICT_ROW_S = 1.5
"""Seconds between two progress rows of the second job."""
SCORING_S = 3.0
"""Seconds that the second job takes to score its predictions."""
CONSOLE_WRITES = 4
"""Maximum number of progress bar writes between two rows."""
CONSOLE_ROW = re.compile(rb"\{'(?:loss|eval_\w+|train_runtime)':[^{}\n]*\}\n?")
"""Match a metric dict of the console: one for each row of the trainer log, the summary row (train_runtime) included."""
CONSOLE_PIECE = re.compile(rb"[^\r\n]*(?:\r?\n|\r|$)")
"""Match the text of one write: up to a line end or carriage return."""


@dataclass(frozen=True)
class Replay:
    """How one sample run is replayed."""

    run: str
    """Path of the run below the samples, and below the target."""
    start_s: float
    """Seconds of the run that are over when the demo starts."""
    row_s: float | None = None
    """Seconds per row, with the clocks in the rows rewritten; None to keep the rows and the times of the real job."""
    keep_checkpoints: int = 0
    """Number of checkpoints that the job keeps (its save_total_limit); 0 keeps all."""


REPLAYS = (
    Replay("lora/sft-long", start_s=40.0, row_s=1.0, keep_checkpoints=3),
    Replay("lora/sft", start_s=168.0),
    Replay("lora/diverged", start_s=8.0, row_s=3.0),
    Replay("lora/killed", start_s=23.0 + 20 * 60.0),
)
"""The runs of the demo."""


@dataclass(frozen=True)
class Event:
    """One change of one file (or, for ``remove``, of one directory)."""

    at: float
    """Seconds since the start of the run."""
    action: Literal["append", "write", "remove"]
    path: str
    """Relative to the directory of the run."""
    data: bytes | Callable[[], bytes] = b""
    """Bytes to write, or a function that returns them."""
    stamped: bool = False
    """Whether the data are TensorBoard records, whose wall times are replaced when they are written."""

    def content(self, now: float) -> bytes:
        """Return the bytes to write at ``now`` (Unix seconds), made only now since some take long to make."""
        data = self.data if isinstance(self.data, bytes) else self.data()
        return restamped(data, now) if self.stamped else data


Row = dict[str, Any]
"""A line of ``trainer_log.jsonl``."""


def plan(sample: Path, replay: Replay) -> list[Event]:
    """Return all file changes of the job of a sample run, sorted by time."""
    lines = (sample / "trainer_log.jsonl").read_bytes().splitlines(keepends=True)
    rows: list[Row] = [json.loads(line) for line in lines]
    count = sum("epoch" in row for row in rows)  # the rows after them are those of a prediction
    times = own_times(rows[:count]) if replay.row_s is None else even_times(rows[:count], replay.row_s)
    events: list[Event] = []
    for line, row, at in zip(lines, rows, times, strict=False):  # stops at the last training row
        data = line if replay.row_s is None else retimed(row, at)
        events.append(Event(at, "append", "trainer_log.jsonl", data))
    logs = sorted((sample / "runs").glob("*/events.out.tfevents.*"), key=lambda path: path.suffix)
    if logs:
        events += tensorboard_events(sample, logs[0], times)
    events += checkpoint_events(sample, rows[:count], times, replay.keep_checkpoints)
    console = (sample / "train.log").read_bytes()
    ended = (sample / "train_results.json").exists()
    events += console_events("train.log", console, times, tail_s=EVAL_S if ended else 0.1)
    if ended:
        end = times[-1] + FILE_GAP_S
        finals = list(final_events(sample, end, logs[1:]))
        events += finals
        if count < len(rows):
            events += predict_events(sample, lines[count:], finals[-1].at + PREDICT_START_S)
    return sorted(events, key=lambda event: event.at)  # stable: events of one moment keep their order


def seconds(clock: str) -> int:
    """Return the seconds of an ``H:MM:SS`` clock (no sample took a day)."""
    hours, minutes, rest = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(rest)


def own_times(rows: list[Row]) -> list[float]:
    """Return when each row was written (s); rows of one second, since the clock has whole ones, are spread over it."""
    clocks = [seconds(row["elapsed_time"]) for row in rows]
    times: list[float] = []
    for i, clock in enumerate(clocks):
        first, same = clocks.index(clock), clocks.count(clock)
        times.append(clock + (i - first) / same)
    return times


def even_times(rows: list[Row], row_s: float) -> list[float]:
    """Return when each row is to be written (s) at ``row_s`` seconds per row, with a pause for each evaluation."""
    times: list[float] = []
    at = 0.0
    for row in rows:
        at += row_s * (EVAL_ROWS if "eval_loss" in row else 1.0 if "loss" in row else 0.05)
        times.append(at)
    return times


def retimed(row: Row, elapsed: float) -> bytes:
    """Return the row as the job would have logged it ``elapsed`` seconds after its start."""
    step, total = row["current_steps"], row["total_steps"]
    row = dict(row, elapsed_time=str(timedelta(seconds=int(elapsed))))
    row["remaining_time"] = str(timedelta(seconds=int((total - step) * elapsed / step)))
    if "throughput" in row:
        row["throughput"] = round(row["total_tokens"] / elapsed, 2)
    return json.dumps(row).encode() + b"\n"


def checkpoint_events(sample: Path, rows: list[Row], times: list[float], keep: int) -> Iterator[Event]:
    """Yield the files of each checkpoint, ``trainer_state.json`` last; remove the oldest above ``keep``."""
    logged = zip(rows, times, strict=True)
    saved_at = {row["current_steps"]: at for row, at in logged if "loss" in row or "eval_loss" in row}
    steps = {int(path.name.partition("-")[2]) for path in sample.glob("checkpoint-*")}
    root = sample / "trainer_state.json"
    if root.exists():
        state = json.loads(root.read_bytes())
        steps |= {*range(state["save_steps"], state["max_steps"], state["save_steps"]), state["max_steps"]}
    ordered = sorted(steps & saved_at.keys())
    for i, step in enumerate(ordered):
        folder, at = f"checkpoint-{step}", saved_at[step]
        own = sample / folder / "trainer_state.json"
        config = sample / "adapter_config.json"
        config = config if config.exists() else sample / folder / "adapter_config.json"
        yield Event(at + FILE_GAP_S / 4, "write", f"{folder}/adapter_config.json", config.read_bytes())
        content = own.read_bytes if own.exists() else partial(state_at, root, step)
        yield Event(at + FILE_GAP_S / 2, "write", f"{folder}/trainer_state.json", content)
        if keep and i >= keep:
            yield Event(at + FILE_GAP_S * 3 / 4, "remove", f"checkpoint-{ordered[i - keep]}")


def state_at(root: Path, step: int) -> bytes:
    """Return the ``trainer_state.json`` that the checkpoint of a step held, cut from the one in the root."""
    state = json.loads(root.read_bytes())
    history = [row for row in state["log_history"] if row["step"] <= step and "train_loss" not in row]
    state["total_flos"] *= step / state["global_step"]
    state.update(log_history=history, global_step=step, epoch=history[-1]["epoch"])
    if "num_input_tokens_seen" in history[-1]:
        state["num_input_tokens_seen"] = history[-1]["num_input_tokens_seen"]
    last = step >= state["max_steps"]
    state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"] = last
    return json.dumps(state, indent=2, sort_keys=True).encode() + b"\n"


def tensorboard_events(sample: Path, path: Path, times: list[float]) -> Iterator[Event]:
    """Yield the records of an event file, those of one logging call together with their row."""
    data, name = path.read_bytes(), path.relative_to(sample).as_posix()
    groups: list[bytes] = []
    position, before = 0, float("-inf")
    while position + 16 <= len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        record = data[position : position + 16 + length]
        (wall_time,) = struct.unpack_from("<d", record, 13)  # the first field of every event
        if wall_time - before > FILE_GAP_S:
            groups.append(b"")
        groups[-1] += record
        position, before = position + len(record), wall_time
    yield Event(0.0, "append", name, groups[0], stamped=True)
    for i, group in enumerate(groups[1:]):
        yield Event(times[min(i, len(times) - 1)], "append", name, group, stamped=True)


def checksum(data: bytes) -> int:
    """Return the masked CRC-32C of TensorBoard's record format."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def restamped(records: bytes, now: float) -> bytes:
    """Return event records with the wall time ``now`` (Unix seconds) instead of that of the real job."""
    out, position = b"", 0
    while position + 16 <= len(records):
        (length,) = struct.unpack_from("<Q", records, position)
        head, event = records[position : position + 12], bytearray(records[position + 12 : position + 12 + length])
        struct.pack_into("<d", event, 1, now)
        out += head + bytes(event) + struct.pack("<I", checksum(bytes(event)))
        position += 16 + length
    return out


def pieces(text: bytes, most: int) -> list[bytes]:
    """Return the text in at most ``most`` parts, cut after line ends and carriage returns only."""
    units = [unit for unit in CONSOLE_PIECE.findall(text) if unit]
    size = max(1, -(-len(units) // most))
    return [b"".join(units[i : i + size]) for i in range(0, len(units), size)]


def spread(name: str, text: bytes, start: float, end: float, most: int) -> Iterator[Event]:
    """Yield at most ``most`` appends of a console's text between two times (s), the last one at ``end``."""
    parts = pieces(text, most)
    for i, part in enumerate(parts, start=1):
        yield Event(start + (end - start) * i / len(parts), "append", name, part)


def console_events(name: str, text: bytes, times: list[float], tail_s: float) -> Iterator[Event]:
    """Yield a console log that grows with the rows: text between two metric dicts is written between their rows."""
    begin = text.find(b"***** Running training *****")
    begin = text.find(b"\n", begin) + 1 if begin >= 0 else 0
    yield Event(0.0, "append", name, text[:begin])
    position, before = begin, 0.0
    for match, at in zip(CONSOLE_ROW.finditer(text, begin), times, strict=False):  # a job's console may end early
        yield from spread(name, text[position : match.end()], before, at, CONSOLE_WRITES)
        position, before = match.end(), at
    yield from spread(name, text[position:], before, before + tail_s, 2 * CONSOLE_WRITES)


def final_events(sample: Path, at: float, logs: list[Path]) -> Iterator[Event]:
    """Yield the files that a training job writes at its end, in the producer's order; ``README.md`` is the last."""
    results = sample / "train_results.json"
    for name in ("adapter_config.json", "README.md", "train_results.json"):
        yield Event(at, "write", name, (sample / name).read_bytes())
        at += FILE_GAP_S
    yield Event(at, "write", "all_results.json", results.read_bytes())
    at += FILE_GAP_S
    yield Event(at, "write", "trainer_state.json", (sample / "trainer_state.json").read_bytes)
    evaluation = sample / "eval_results.json"
    if evaluation.exists():
        at += EVAL_S
        for path in logs:
            yield Event(at, "append", path.relative_to(sample).as_posix(), path.read_bytes(), stamped=True)
        yield Event(at, "write", "eval_results.json", evaluation.read_bytes())
        at += FILE_GAP_S
        yield Event(at, "write", "all_results.json", merged(results, evaluation))
    yield Event(at + FILE_GAP_S, "write", "README.md", (sample / "README.md").read_bytes())


def predict_events(sample: Path, lines: list[bytes], at: float) -> Iterator[Event]:
    """Yield a second job that predicts into the same directory: progress rows, silence while it scores, results."""
    console = (sample / "predict.log").read_bytes()
    first_bar = max(console.find(b"\r"), 0)
    scores = max(console.find(b"***** predict metrics *****"), first_bar)
    yield from spread("predict.log", console[:first_bar], at - PREDICT_START_S / 2, at, CONSOLE_WRITES)
    last = at + PREDICT_ROW_S * len(lines)
    yield from spread("predict.log", console[first_bar:scores], at, last, CONSOLE_WRITES * len(lines))
    for i, line in enumerate(lines, start=1):
        yield Event(at + PREDICT_ROW_S * i, "append", "trainer_log.jsonl", line)
    at = last + SCORING_S
    yield Event(at, "append", "predict.log", console[scores:])
    results = [sample / f"{name}_results.json" for name in ("train", "eval", "predict")]
    yield Event(at, "write", "predict_results.json", results[-1].read_bytes())
    yield Event(at + FILE_GAP_S, "write", "all_results.json", merged(*results))
    predictions = (sample / "generated_predictions.jsonl").read_bytes()
    yield Event(at + 2 * FILE_GAP_S, "write", "generated_predictions.jsonl", predictions)


def merged(*paths: Path) -> bytes:
    """Return the ``all_results.json`` that holds the results of several files."""
    union: dict[str, Any] = {}
    for path in paths:
        if path.exists():
            union.update(json.loads(path.read_bytes()))
    return json.dumps(union, indent=4, sort_keys=True).encode()


def apply_event(event: Event, folder: Path) -> None:
    """Apply one event below ``folder``: open, write, close; not atomic, as the producer's writes are not."""
    path = folder / event.path
    if event.action == "remove":
        shutil.rmtree(path, ignore_errors=True)
        return
    content = event.content(time.time())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab" if event.action == "append" else "wb") as file:
        file.write(content)


def write_past(events: list[Event], folder: Path, start_s: float, now: float) -> list[Event]:
    """Write the events before ``start_s`` (s) at once, with their own modification times; return the later ones.

    ``now`` is the Unix time at which the demo starts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    past: dict[str, list[Event]] = {}
    for event in events:
        if event.at > start_s:
            continue
        if event.action == "remove":
            past = {name: kept for name, kept in past.items() if not name.startswith(f"{event.path}/")}
        elif event.action == "write":
            past[event.path] = [event]
        else:
            past.setdefault(event.path, []).append(event)
    for name, parts in past.items():
        whole = b"".join(part.content(now - (start_s - part.at)) for part in parts)
        apply_event(Event(0.0, "write", name, whole), folder)
        written = now - (start_s - parts[-1].at)
        os.utime(folder / name, (written, written))
    return [event for event in events if event.at > start_s]


def write_demo(target: Path, samples: Path, speed: float, alive: Callable[[], bool], ready: Callable[[], None]) -> None:
    """Replay all runs until all is written or ``alive`` returns False; call ``ready`` once the past is written."""
    now = time.time()
    queue: list[tuple[float, Path, Event]] = []
    for replay in REPLAYS:
        folder = target / replay.run
        rest = write_past(plan(samples / replay.run, replay), folder, replay.start_s, now)
        queue += [((event.at - replay.start_s) / speed, folder, event) for event in rest]
    queue.sort(key=lambda item: item[0])
    ready()
    started = time.monotonic()
    for due, folder, event in queue:
        while (wait := started + due - time.monotonic()) > 0:
            if not alive():
                return
            time.sleep(min(wait, TICK_S))
        apply_event(event, folder)


def main() -> int:
    """Run the command line of the replay."""
    parser = argparse.ArgumentParser(prog="replay", description="Replay sample runs live into a directory.")
    parser.add_argument("target", type=Path, metavar="DIR", help="the directory to write into")
    parser.add_argument("--speed", type=float, default=1.0, help="how many times faster than the demo's own speed")
    parser.add_argument("--samples", type=Path, required=True, help="the directory of the sample runs to replay")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="stop when this is no longer the parent")
    options = parser.parse_args()
    if not options.speed > 0:
        parser.error("--speed must be above 0")

    def stop(_signal: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    def ready() -> None:
        try:
            print("ready", flush=True)
        except OSError:  # the reader is gone
            pass

    signal.signal(signal.SIGTERM, stop)
    write_demo(options.target, options.samples, options.speed, lambda: os.getppid() == options.parent, ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
