"""``lora-tui report`` as a user runs it."""

from __future__ import annotations

import resource

import pytest

from tests.report import seeds
from tests.support.program import lora_tui, strict
from tests.test_imports import command


@pytest.fixture
def run(tmp_path):
    return seeds.write_summary(tmp_path / "sft")


def test_the_box_is_the_default(run):
    done = lora_tui("report", run, env={"TZ": "UTC"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("╔")
    assert "PPL 5.39: high, room to improve" in done.stdout


def test_chinese_by_option_and_by_the_environment(run):
    assert "PPL 5.39：偏高，需要改进" in lora_tui("report", run, "--lang", "zh").stdout
    assert "PPL 5.39：偏高，需要改进" in lora_tui("report", run, env={"LC_ALL": "zh_CN.UTF-8"}).stdout


def test_json_contains_the_snapshot(run):
    status = strict(lora_tui("status", run, "--json").stdout)
    made = strict(lora_tui("report", run, "--format", "json").stdout)
    assert {key: made[key] for key in status} == status
    assert made["title"] == "Qwen2-0.5B-Instruct QLoRA training summary"
    assert made["language"] == "en"
    assert strict(lora_tui("report", run, "--format", "json", "--lang", "zh").stdout)["language"] == "zh"


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.md", "# QLoRA"), ("a.html", "<!doctype html>"), ("a.json", "{"), ("a.txt", "╔"), ("a", "╔"), ("A.MD", "# ")],
)
def test_the_file_suffix_decides_the_format(run, tmp_path, name, begins):
    done = lora_tui("report", run, "-o", tmp_path / name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "sft"])


def test_the_format_option_wins_over_the_suffix(run, tmp_path):
    lora_tui("report", run, "--format", "md", "-o", tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_text(encoding="utf-8").startswith("# QLoRA")


def test_an_unknown_suffix_is_a_usage_error(run, tmp_path):
    done = lora_tui("report", run, "-o", tmp_path / "a.pdf")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--format" in done.stderr
    assert not (tmp_path / "a.pdf").exists()


def one_line(done):
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_empty_directory_gives_one_clear_line(tmp_path):
    assert "no training runs in" in one_line(lora_tui("report", tmp_path))
    assert "no run is called nothing" in one_line(lora_tui("report", "nothing", cwd=tmp_path))


def test_a_file_that_cannot_be_written_gives_one_clear_line(run, tmp_path):
    (tmp_path / "dir.md").mkdir()
    assert "dir.md" in one_line(lora_tui("report", run, "-o", tmp_path / "dir.md"))
    assert "nowhere" in one_line(lora_tui("report", run, "-o", tmp_path / "nowhere" / "a.md"))


def small_files():
    # A write beyond this size fails as on a full disk.
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_a_full_disk_leaves_the_old_report_intact(run, tmp_path):
    old = tmp_path / "a.md"
    old.write_text("the old one")
    assert "a.md" in one_line(lora_tui("report", run, "-o", old, before=small_files))
    assert old.read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "sft"]


def test_ascii_by_option_and_when_the_output_cannot_carry_more(run):
    asked = lora_tui("report", run, "--glyphs", "ascii").stdout
    assert asked.isascii()
    assert lora_tui("report", run, env={"PYTHONIOENCODING": "ascii"}).stdout == asked
    assert lora_tui("report", run, "--format", "md", "--glyphs", "ascii").stdout.count("⣀") == 0


def test_a_file_is_not_limited_to_what_the_terminal_can_show(run, tmp_path):
    lora_tui("report", run, "-o", tmp_path / "a.txt", env={"PYTHONIOENCODING": "ascii"})
    assert (tmp_path / "a.txt").read_text(encoding="utf-8").startswith("╔")


def test_it_imports_no_textual(run):
    for form in ("box", "json", "html"):
        assert command("report", run, "--format", form) & {"textual", "rich", "plotext", "numpy", "shtab"} == set()
    assert command("report", run, "--format", "md") & {"textual", "rich", "numpy", "shtab", "plotext"} == {"plotext"}


def test_a_run_by_its_name_below_the_current_directory(run):
    assert "PPL 5.39" in lora_tui("report", run.name, cwd=run.parent).stdout
