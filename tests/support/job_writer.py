"""Write files like a training job, from a second process that :class:`Writer` controls.

``python job_writer.py DIR`` reads one command per line from stdin and prints ``done`` once it is on disk.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path


class Writer:
    """Control of the second process. ``writer("row", {...})`` returns once the row is on disk."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(run)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __call__(self, command: str, *rest: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        text = " ".join(part if isinstance(part, str) else json.dumps(part) for part in rest)
        self.process.stdin.write(f"{command} {text}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=60)


def main() -> None:
    run = Path(sys.argv[1])
    log = run / "trainer_log.jsonl"
    for line in sys.stdin:
        command, _, rest = line.rstrip("\n").partition(" ")
        if command == "row":
            run.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as file:
                file.write(rest + "\n")
        elif command == "part":
            with log.open("a", encoding="utf-8") as file:
                file.write(rest)
        elif command == "delete":
            log.unlink()
        elif command == "truncate":
            with log.open("w", encoding="utf-8"):
                pass
        elif command == "replace":
            beside = run / "trainer_log.new"
            beside.write_text(rest + "\n", encoding="utf-8")
            beside.rename(log)
        elif command == "json":
            name, _, text = rest.partition(" ")
            # Truncate, then write, as json.dump into open("w") does.
            with (run / name).open("w", encoding="utf-8") as file:
                file.flush()
                json.dump(json.loads(text), file, indent=4)
        elif command == "torn":
            name, _, text = rest.partition(" ")
            (run / name).write_text(text, encoding="utf-8")
        elif command == "move":
            run.rename(rest)
        elif command == "remove":
            shutil.rmtree(run)
        print("done", flush=True)


if __name__ == "__main__":
    main()
