"""Faults as a user sees them: in the app on a real terminal, and on stderr of a command."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.faults.following import append, row
from tests.support.live_app import PYTHON, watching
from tests.support.program import COMMAND, environment, lora_tui
from tests.support.terminal import Terminal
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.pty
CopyRun = Callable[..., Path]


def test_the_selected_run_is_moved(tmp_path: Path) -> None:
    """It goes on under its new name."""
    append(tmp_path / "saves/b", row(1, 5.0))
    append(tmp_path / "saves/a", *(row(step, 2.0) for step in range(1, 10)))
    os.utime(tmp_path / "saves/b/trainer_log.jsonl", (time.time() - 100,) * 2)
    with watching(tmp_path, "saves") as terminal:
        terminal.wait_for("─ a ─", "loss 2.0000")
        (tmp_path / "saves/a").rename(tmp_path / "saves/renamed")
        terminal.wait_for("─ (b|renamed) ─", r"renamed\s+2.00", "2 runs")
        append(tmp_path / "saves/renamed", row(10, 1.25))
        terminal.wait_for(r"renamed\s+1.25")
        terminal.send("gg")
        terminal.wait_for("─ renamed ─", "loss 1.2500")


def test_the_selected_run_is_deleted_on_every_page(tmp_path: Path) -> None:
    """Whatever lies on the screen about it, the next run is shown, and in the end what a run is."""
    for number, name in enumerate(("a", "b", "c", "d")):
        append(tmp_path / f"saves/{name}", *(row(step, 2.0 + number) for step in range(1, 10)))
        then = time.time() - 100 * number
        os.utime(tmp_path / f"saves/{name}/trainer_log.jsonl", (then, then))
    with watching(tmp_path, "saves") as terminal:
        for name, key, back in (("a", "1", ""), ("b", "6", "1"), ("c", "7", "1"), ("d", "R", "\x1b")):
            terminal.wait_for(f"─ {name} ─")
            terminal.send(key)
            terminal.settle()
            shutil.rmtree(tmp_path / "saves" / name)
            terminal.wait_gone(f"{name}   .*[2345].00")
            terminal.send(back)
            terminal.settle()
        terminal.wait_for("0 runs")
        append(tmp_path / "saves/e", row(1, 7.0))
        terminal.wait_for("loss 7.0000")


def test_a_directory_loses_its_permission_and_gets_it_back(tmp_path: Path) -> None:
    """One line at the top names it, and the run's findings; what is known of it stays; the rest goes on."""
    append(tmp_path / "saves/b", *(row(step, 5.0) for step in range(1, 10)))
    append(tmp_path / "saves/a", *(row(step, 2.0) for step in range(1, 10)))
    drop = shutil.which("setpriv")
    if os.geteuid() == 0 and drop is None:
        pytest.skip("needs setpriv to give up root's right to read everything")
    without = [drop, "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 and drop else []
    with Terminal([*without, *COMMAND, "watch", "saves"], 120, 40, PYTHON, tmp_path) as terminal:
        terminal.wait_for("─ a ─", "loss 2.0000")
        (tmp_path / "saves/a").chmod(0)
        try:
            terminal.wait_for("! saves/a: permission denied", "! a/  permission denied", "loss 2.0000")
            append(tmp_path / "saves/b", row(10, 4.5))
            terminal.wait_for(r"b\s+4.50")
            terminal.send("L")
            terminal.wait_for("saves/a：没有权限", "a/  没有权限")
            assert terminal.settle().count("没有权限") == 2
        finally:
            (tmp_path / "saves/a").chmod(0o755)
        append(tmp_path / "saves/a", row(10, 1.75))
        terminal.wait_for("loss 1.7500")
        terminal.wait_gone("没有权限")
        terminal.send("q")
        assert terminal.wait_exit() == 0


# -- no room for what the user asked to be written -------------------------------------------------------------------

SMALL = """
mount -t tmpfs -o size=16k none "{place}" || exit 99
{before}
"$@"
code=$?
for file in "{place}"/* "{place}"/.[a-z]*; do
    [ -f "$file" ] && echo "left: $(basename "$file") $(wc -c < "$file")"
done
exit $code
"""


def small_disk(place: Path, before: str, command: list[str]) -> list[str]:
    """A command for which ``place`` is a file system of 16 KiB, in a mount namespace of its own."""
    found = shutil.which("unshare")
    if found is None:
        pytest.skip("needs unshare")
    place.mkdir(parents=True, exist_ok=True)
    script = SMALL.format(place=place, before=before)
    whole = [found, *([] if os.geteuid() == 0 else ["-Ur"]), "-m", "sh", "-c", script, "sh"]
    probe = subprocess.run([*whole, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"needs mount namespaces: {probe.stderr.strip()}")
    return [*whole, *command]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("form", ["md", "html", "json"])
def test_a_report_on_a_full_disk(copy_run: CopyRun, tmp_path: Path, form: str, lang: str) -> None:
    """One clear line, exit code 1, the old report whole, nothing beside it."""
    run, place = copy_run("lora/sft"), tmp_path / "small"
    before = f'printf old > "{place}/report.{form}"; dd if=/dev/zero of="{place}/filler" bs=1k 2>/dev/null'
    command = [*COMMAND, "report", str(run), "--lang", lang, "--format", form, "-o", str(place / f"report.{form}")]
    done = subprocess.run(
        small_disk(place, before, command), capture_output=True, text=True, env=environment(), timeout=DEADLINE_S
    )
    why = "磁盘空间不足" if lang == "zh" else "No space left on device"
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("lora-tui: ")
    assert f"small/report.{form}" in line
    assert why.lower() in line.lower()
    assert done.stdout.splitlines() == ["left: filler 12288", f"left: report.{form} 3"]


def test_a_report_beyond_a_quota(copy_run: CopyRun, tmp_path: Path) -> None:
    """RLIMIT_FSIZE, as batch systems set it: the same."""
    run, path = copy_run("lora/sft"), tmp_path / "report.html"
    path.write_text("old")
    done = lora_tui(
        "report", run, "--format", "html", "-o", path,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"lora-tui: {path} cannot be written: file too large\n"
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir() if item.is_file()] == ["report.html"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_choice_that_cannot_be_kept(copy_run: CopyRun, tmp_path: Path, lang: str) -> None:
    """The disk of the settings is full: the theme changes all the same, and it is said that it is not kept."""
    copy_run("lora/sft", "saves/sft")
    place = tmp_path / "config"
    old = json.dumps({"lang": lang})
    before = f"""printf '%s' '{old}' > "{place}/kept.json"; dd if=/dev/zero of="{place}/filler" bs=1k 2>/dev/null"""
    command = small_disk(place, before, [*COMMAND, "watch", "saves"])
    with Terminal(command, 120, 40, {**PYTHON, "LORA_TUI_CONFIG_DIR": str(place)}, tmp_path) as terminal:
        terminal.wait_for("loss 1.0573")
        terminal.settle()
        terminal.send("T")
        terminal.wait_for("config/kept.json.*磁盘空间不足" if lang == "zh" else "config/kept.json cannot be written")
        terminal.send("3")
        terminal.wait_for("37.07")
        terminal.send("q")
        terminal.wait_exit()
        assert "Traceback" not in terminal.text
        said = terminal.raw.decode("utf-8", "replace")
        assert f"left: kept.json {len(old)}" in said


def test_settings_on_a_read_only_disk_and_a_run_on_it(copy_run: CopyRun, tmp_path: Path) -> None:
    """A read-only mount is all that is ever needed to look."""
    run = copy_run("lora/sft")
    place = tmp_path / "ro"
    place.mkdir()
    found = shutil.which("unshare")
    if found is None:
        pytest.skip("needs unshare")
    script = f'mount --bind "{run}" "{place}" && mount -o remount,bind,ro "{place}" && exec "$@"'
    user = [] if os.geteuid() == 0 else ["-Ur"]
    done = subprocess.run(
        [found, *user, "-m", "sh", "-c", script, "sh", *COMMAND, "status", str(place)],
        capture_output=True, text=True, env=environment(), timeout=DEADLINE_S,
    )  # fmt: skip
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"needs mount namespaces: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "1.0573" in done.stdout
    assert done.stderr == ""
    assert sys.platform == "linux"
