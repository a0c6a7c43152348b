"""A second process that writes as a training job does: ``python writer.py DIR COMMAND``; one command a line on stdin.

Standard library only. Each command is answered with ``done`` once it is on disk.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path


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
