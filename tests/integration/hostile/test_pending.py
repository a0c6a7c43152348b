"""What is left to read of one large file hides nothing that happens to the others meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

from lora_tui.ingest.follower import Follower
from lora_tui.records.updates import FileRows
from tests.support.live_app import row, write_run
from tests.support.waiting import wait_until

NOISE = b"a line of a library that says too much, again and again and again\n" * 16_000


def test_a_new_row_is_seen_before_a_large_log_has_been_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [3.0, 2.5], 10)
    (run / "train.log").write_bytes(b"***** Running training *****\n")
    follower = Follower([tmp_path])
    try:
        follower.start_watching()
        follower.read_all()
        with (run / "train.log").open("ab") as log:
            for _ in range(20):
                log.write(NOISE)
        wait_until(lambda: follower.wait(0.2) and not follower.read(0.01).complete, "the log has been seen to grow")
        with (run / "trainer_log.jsonl").open("a") as log_of_rows:
            log_of_rows.write(json.dumps(row(3, 2.25, 10)) + "\n")
        turns, seen, complete = 0, False, False
        while not seen and not complete:
            turns += 1
            follower.wait(0.2)
            batch = follower.read(0.01)
            complete = batch.complete
            seen = any(
                isinstance(update, FileRows) and update.file == "trainer_log.jsonl" and update.rows
                for change in batch.runs
                for update in change.updates
            )
        assert seen
        assert not complete, f"only when all was read, after {turns} turns"
    finally:
        follower.close()
