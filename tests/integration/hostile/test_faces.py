"""What a file says is data in every form that it is told in, and nothing of a job's files is run, loaded or changed."""

from __future__ import annotations

import os
import pickle
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lora_tui
from lora_tui.cli.main import main
from tests.integration.pty.test_hostile import ALL, HOSTILE, hostile_run
from tests.support.app_pilot import make_app, settled
from tests.support.live_app import write_run
from tests.support.program import strict
from tools.fuzz.outputs import NOW, check_run

OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of what a terminal obeys, turns around or hides."""


def check_harmless(said: str) -> None:
    found = {char for char in said if unicodedata.category(char) in OBEYED and char != "\n"}
    assert not found, [hex(ord(char)) for char in found]


FORMS = [
    ["ls"], ["ls", "--json"], ["ls", "--lang", "zh"], ["status", "RUN"], ["status", "RUN", "--json"],
    *(["report", "RUN", "--format", form, "--lang", lang]
      for form in ("box", "md", "html", "json") for lang in ("en", "zh")),
    *(["compare", "RUN", "b", "--format", form] for form in ("text", "html", "json")),
    *(["export", "RUN", "--format", form] for form in ("csv", "jsonl")),
    ["explain", "loss", "--run", "RUN"],
]  # fmt: skip


@pytest.mark.parametrize("command", FORMS, ids=" ".join)
def test_every_form_is_plain_text(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hostile_run(tmp_path)
    write_run(tmp_path / "b", [1.0, 0.9], 10)
    monkeypatch.chdir(tmp_path)
    assert main([str(run) if word == "RUN" else word for word in command]) == 0
    said = capsys.readouterr()
    check_harmless(said.out)
    assert said.err == ""
    if "json" in command or "--json" in command:
        strict(said.out)
    if "jsonl" in command:
        for line in said.out.splitlines():
            strict(line)


@pytest.mark.parametrize(
    "command",
    [["status", ALL], ["report", ALL], ["export", ALL], ["compare", ALL, "b"], ["explain", ALL], ["wait", ALL],
     ["ls", "--filter", ALL], ["ls", "--sort", ALL], ["ls", "--config", ALL], ["report", "b", "-o", ALL + "/x.md"],
     ["watch", ALL], ["status", "b", "--log", ALL], ["wait", "b", "--until", f"loss < '{ALL}'"],
     ["explain", "loss", "--run", ALL]],
)  # fmt: skip
def test_an_error_message_is_plain_text(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "b", [1.0, 0.9], 10)
    monkeypatch.chdir(tmp_path)
    try:
        code = main([word.replace("/", "") if word == ALL else word for word in command])
    except SystemExit as error:
        code = int(str(error.code))
    said = capsys.readouterr()
    assert code in (1, 2)
    check_harmless(said.err + said.out)


class Payload:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


BINARY = (
    "training_args.bin",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "pytorch_model.bin",
    "adapter_model.bin",
)


def test_nothing_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "made"
    run = write_run(tmp_path / "saves" / "a", [3.0, 2.5, 2.0], 10)
    (run / "checkpoint-2").mkdir()
    for place in (run, run / "checkpoint-2"):
        for name in BINARY:
            (place / name).write_bytes(pickle.dumps(Payload(mark)))
    (run / "checkpoint-2" / "trainer_state.json").write_text('{"global_step": 2, "log_history": []}')
    # A file that is no JSON and no YAML but a pickle, under the names that are read.
    for name in ("trainer_state.json", "adapter_config.json", "training_args.yaml", "README.md", "all_results.json",
                 "generated_predictions.jsonl", "train.log"):  # fmt: skip
        (run / name).write_bytes(pickle.dumps(Payload(mark)))
    monkeypatch.chdir(tmp_path)
    for command in (["status", "a", "--json"], ["report", "a"], ["ls"], ["export", "a"]):
        assert main(command) == 0
    capsys.readouterr()
    assert not mark.exists()
    pickle.loads((run / BINARY[0]).read_bytes())  # noqa: S301 - it would have run
    assert mark.exists()


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size, str(path.readlink()) if path.is_symlink() else "")
        for path in [root, *root.rglob("*")]
    }


def test_watched_trees_and_what_their_links_mean_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "outside"
    write_run(outside / "real", [3.0, 2.5, 2.0], 10)
    (outside / "report.html").write_text("mine")
    watched = tmp_path / "watched"
    run = watched / "a"
    run.mkdir(parents=True)
    for name in ("trainer_log.jsonl", "report.html", "README.md", ".lora-tui"):
        (run / name).symlink_to(outside / "real" / name if name.endswith("l") else outside / "none" / name)
    (watched / "loop").symlink_to(watched)
    (watched / "away").symlink_to(outside)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    before = snapshot(watched), snapshot(outside)
    for command in (["ls", "../watched"], ["status", "../watched/a"], ["report", "../watched/a"],
                    ["report", "../watched/a", "-o", "x.html"], ["export", "../watched/a"],
                    ["wait", "../watched/a", "--timeout", "1s"]):  # fmt: skip
        main(command)
    said = capsys.readouterr().out
    assert "a" in said
    assert (snapshot(watched), snapshot(outside)) == before
    assert [path.name for path in work.iterdir()] == ["x.html"]


# -- trees of any names ----------------------------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from([b"trainer_log.jsonl", b"trainer_state.json", b"train.log", b"checkpoint-5",
                     b"checkpoint-99999999999999", b"runs", b"README.md",
                     b"all_results.json", b"events.out.tfevents.1.x", b"adapter_config.json"]),
    st.sampled_from([part.encode("utf-8", "surrogateescape").replace(b"/", b"") for part in HOSTILE.values()]),
    st.sampled_from([b"new\nline", b"quo'te\"s", b"sur\xffrogate", b"[red]x[/red]", b" ", b"-", b"*?[",
                     b"$(x)", b"a" * 200]),
    st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0")),
).filter(lambda name: name not in (b".", b".."))  # fmt: skip
CONTENT = st.sampled_from(
    [b"", b"{}", b"\xff\xfe", b'{"current_steps": 3, "total_steps": 9, "loss": 1.5, "epoch": 1.0}\n', b"[" * 999,
     b"Traceback (most recent call last):\n", b'{"global_step": 5, "log_history": [{"step": 5, "loss": 1e400}]}',
     b"***** Running training *****\nSaving model checkpoint to ../../../etc/x\n"]
)  # fmt: skip
KINDS = st.sampled_from(["file", "file", "link", "pipe"])
TREE = st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=4), CONTENT, KINDS), max_size=8)


def plant(root: Path, parts: list[bytes], content: bytes, kind: str) -> None:
    path = root.joinpath(*map(os.fsdecode, parts))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(os.fsdecode(content) or "..")
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            with path.open("xb") as file:  # a pipe that is there already would be waited for
                file.write(content)
    except (OSError, ValueError):
        # The name is there already, or a part of the path is a file, or the name is none.
        return


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(TREE)
def test_any_tree_can_be_read_and_told(
    tmp_path_factory: pytest.TempPathFactory, tree: list[tuple[list[bytes], bytes, str]]
) -> None:
    root = tmp_path_factory.mktemp("around") / "tree"  # a link upwards leads to nothing of other tests
    root.mkdir()
    for parts, content, kind in tree:
        plant(root, parts, content, kind)
    for run in lora_tui.load_all(root):
        check_run(run, NOW)


@pytest.mark.parametrize("when", [-1e10, 0.0, 1e10, 2**31, 4e11, 9e17])
def test_any_time_of_a_file_can_be_told(when: float, tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [3.0, 2.5, 2.0], 10)
    try:
        os.utime(run / "trainer_log.jsonl", (when, when))
    except (OverflowError, OSError):
        pytest.skip("no file can have this time here")
    check_run(lora_tui.load(run), NOW)


async def test_the_reports_that_the_app_writes_are_plain_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile_run(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    app = make_app(tmp_path / "saves")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for key in ("R", "h", "m", "t", "J"):
            await pilot.press(key)
            await settled(pilot)
    written = sorted(work.iterdir())
    assert {path.suffix for path in written} == {".html", ".md", ".txt", ".json"}
    for path in written:
        check_harmless(path.read_text("utf-8"))
        check_harmless(path.name)
