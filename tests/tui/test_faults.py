"""An error while one pane is drawn, one screen is built or one run is judged is shown there and ends nothing else."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_tui.analysis.findings import find
from lora_tui.runs.run import Run
from lora_tui.settings import fault_log
from lora_tui.settings.fault_log import record_fault
from lora_tui.text.cells import cell_width
from lora_tui.tui.app import LoraTuiApp
from lora_tui.tui.panes import run_list
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.screens import explain as explain_screen
from lora_tui.tui.screens.report import ReportScreen
from tests.support.app_pilot import make_app, pane, rows, settled, text

pytestmark = pytest.mark.faults
SIZE = (120, 40)
ALL = ("loss", "head", "cards", "findings", "lr", "own", "results", "excerpt", "page", "top", "footer", "line", "runs")


def kept() -> list[Path]:
    return sorted(Path(os.environ["LORA_TUI_STATE_DIR"]).iterdir())


def plain(shown: str) -> str:
    """What a pane says, without its frame and where its lines end."""
    return " ".join("".join(char for char in shown if char not in "│╭╮╰╯─|+-").split())


def breaks(monkeypatch: pytest.MonkeyPatch, app: LoraTuiApp, name: str) -> list[int]:
    """Let one pane's drawing raise; the returned list counts how often it was tried."""
    tried: list[int] = []

    def fail(width: int, _height: int) -> None:
        tried.append(width)
        raise KeyError("loss")

    monkeypatch.setattr(app.query_one(f"#{name}", Pane), "draw", fail)
    return tried


def repaint(app: LoraTuiApp, charts: bool = True) -> None:
    app._repainter.paint(charts=charts)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("size", [(60, 18), (80, 24), (200, 50), (30, 5)])
async def test_every_pane_alone(
    size: tuple[int, int], lang: str, all_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(all_runs / "lora", lang=lang, glyphs="ascii" if size[0] == 80 else "unicode")
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        shown = [name for name in ALL if name in app.state.places]
        for name in shown:
            with monkeypatch.context() as patch:
                breaks(patch, app, name)
                app.state.card += 1
                repaint(app)
                await settled(pilot)
                said = pane(app, name)
                assert "! " in said, (name, said)
                texts = ("cannot be drawn", "failed with") if lang == "en" else ("无法绘制", "出错")
                assert any(each in plain(said) for each in texts), (name, said)
                assert all(cell_width(line) == size[0] for line in rows(app)), name
                assert [other.id for other in app.query(Pane) if other.fault is not None] == [name]
            app.state.card += 1
            repaint(app)
            await settled(pilot)
            assert app.query_one(f"#{name}", Pane).fault is None
        assert app.is_running
    names = [path.name.rsplit("-", 1)[0] for path in kept()]
    assert names == sorted(f"fault-pane-{name}" for name in shown)


async def test_what_is_said_and_what_is_kept(all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        breaks(monkeypatch, app, "loss")
        await pilot.press("tab")
        await settled(pilot)
        (file,) = kept()
        said = plain(pane(app, "loss"))
        assert said.startswith("! This pane cannot be drawn: KeyError: 'loss'. Traceback: ")
        assert file.name.replace("-", "") in said.replace(" ", "").replace("-", "")
        assert "issue tracker of lora" in said
        content = file.read_text()
        assert "pane loss" in content
        assert "Traceback (most recent call last)" in content
        assert content.rstrip().endswith("KeyError: 'loss'")
        assert str(all_runs) not in content
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_it_is_tried_again_only_when_something_changed(all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        with monkeypatch.context() as patch:
            tried = breaks(patch, app, "cards")
            app.state.focus = "cards"
            repaint(app)
            assert len(tried) == 1
            for _ in range(20):
                repaint(app)
                await settled(pilot)
            assert len(tried) == 1, "nothing changed"
            assert len(kept()) == 1
            written = kept()[0].stat().st_mtime_ns
            await pilot.press("left_square_bracket")
            assert len(tried) == 2, "another run"
            assert kept()[0].stat().st_mtime_ns == written, "the same fault is written once"
        await pilot.press("left_square_bracket")
        await settled(pilot)
        assert app.query_one("#cards", Pane).fault is None
        assert "cannot be drawn" not in text(app)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
async def test_what_ends_a_program_is_not_caught(
    error: type[BaseException], all_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(all_runs / "lora")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        cards = app.query_one("#cards", Pane)

        def fail(_width: int, _height: int) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(cards, "draw", fail)
            app.state.focus = "cards"
            with pytest.raises(error):
                cards.renew()
    assert kept() == []


@pytest.mark.parametrize("page", ["3", "6", "7"])
async def test_a_page_that_cannot_be_built(page: str, all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        with monkeypatch.context() as patch:
            breaks(patch, app, "page")
            await pilot.press(page)
            assert "cannot be drawn" in plain(pane(app, "page"))
            assert "resumed" in pane(app, "runs")
        await pilot.press("1", page)
        assert "cannot be drawn" not in text(app)


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_a_screen_that_cannot_be_built(lang: str, all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(all_runs / "lora", run="sft", lang=lang)
    said = "This page cannot be built: ValueError: odd." if lang == "en" else "此页面无法生成：ValueError: odd。"

    def fail(*_: object) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(ReportScreen, "__init__", fail)
    monkeypatch.setattr(explain_screen, "explain_metric", fail)
    async with app.run_test(size=(60, 18)) as pilot:
        await settled(pilot)
        await pilot.press("R")
        assert said in plain(text(app))
        await pilot.press("escape")
        app.state.focus, app.state.card = "cards", 0
        await pilot.press("enter")
        assert said in plain(text(app))
        await pilot.press("escape", "3")
        assert app.state.page == "results"
    assert len(kept()) == 2


async def test_a_form_of_the_report_that_cannot_be_made(
    all_runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    from lora_tui.tui.screens import report

    def fail(*_: object) -> str:
        raise ValueError("odd")

    monkeypatch.setattr(report, "report_text", fail)
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("R", "h")
        assert "! failed with ValueError, see " in text(app)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def killed_breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let something of the run lora/killed raise."""

    def break_it(owner: object, name: str) -> None:
        usual = getattr(owner, name)

        def fail(run: Run, *arguments: object) -> object:
            if run.path.name == "killed":
                raise KeyError("loss")
            return usual(run, *arguments)

        monkeypatch.setattr(owner, name, fail)

    return break_it


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 40)])
async def test_a_run_that_cannot_be_judged(
    size: tuple[int, int], lang: str, all_runs: Path, killed_breaks: Callable[..., None]
) -> None:
    killed_breaks(find, "find")
    app = make_app(all_runs / "lora", run="killed", lang=lang)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        said = {"en": "! This run cannot be judged: KeyError: 'loss'.", "zh": "! 无法评估此任务：KeyError: 'loss'。"}[
            lang
        ]
        if size[1] == 18:
            said = {"en": "! cannot be judged: KeyError, see ", "zh": "! 无法评估：KeyError，详情见 "}[lang]
        assert said in plain(pane(app, "findings")), pane(app, "findings")
        assert "200/2700" in pane(app, "head")
        if "runs" in app.state.places:
            assert ("! cannot be judged" if lang == "en" else "! 无法评估") in pane(app, "runs")
        await pilot.press("7", "1", "R", "escape", "right_square_bracket")
        view = app.state.current()
        assert view is not None
        assert view.fault is None
        assert said not in plain(text(app))
        assert [other.id for other in app.query(Pane) if other.fault is not None] == []
    assert len(kept()) == 1


async def test_it_is_not_judged_again_before_it_changes(all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []

    def fail(run: Run, *_: object) -> None:
        tried.append(run.path)
        raise KeyError("loss")

    monkeypatch.setattr(find, "find", fail)
    app = make_app(all_runs / "lora", run="killed")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        before = len(tried)
        assert before
        for _ in range(10):
            repaint(app)
            await settled(pilot)
        assert len(tried) == before


@pytest.mark.parametrize("method", ["status", "progress"])
async def test_a_run_of_which_nothing_can_be_said(
    method: str, all_runs: Path, killed_breaks: Callable[..., None]
) -> None:
    killed_breaks(Run, method)
    app = make_app(all_runs / "lora", run="killed")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "! This run cannot be judged: KeyError: 'loss'." in plain(pane(app, "findings"))
        assert "! cannot be judged" in pane(app, "runs")
        assert app.is_running


class _FailingNotifier:
    """A notifier whose check for events fails."""

    bell = False
    pending = False

    def check(self, *_: object) -> list[str]:
        raise ValueError("no such event")


@pytest.mark.parametrize(("lang", "said"), [("en", "Internal error: ValueError"), ("zh", "ValueError")])
async def test_a_check_for_events_that_fails(lang: str, said: str, all_runs: Path) -> None:
    app = make_app(all_runs / "lora", lang=lang, notifier=_FailingNotifier())
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        app._reader.complete = True
        app._report_events()
        await settled(pilot)
        assert said in pane(app, "footer")
        assert app.state.words.t("fault.run", error="ValueError")[:8] not in pane(app, "footer"), "no run failed"
        assert app.is_running
    assert [path.name.rsplit("-", 1)[0] for path in kept()] == ["fault-command-events"]


async def test_a_check_for_events_that_goes_on_failing_is_said_once(all_runs: Path) -> None:
    class Notifier(_FailingNotifier):
        error: Exception | None = ValueError("no such event")

        def check(self, *_: object) -> list[str]:
            if self.error is not None:
                raise self.error
            return []

    notifier = Notifier()
    app = make_app(all_runs / "lora", notifier=notifier)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        app._reader.complete = True

        def said() -> str:
            """Check for events once more, and return what is said of it where nothing was said before."""
            app._note("")
            app._report_events()
            return app.state.note

        assert "ValueError" in said()
        assert [said() for _ in range(3)] == ["", "", ""]
        notifier.error = KeyError("loss")
        assert "KeyError" in said(), "another error"
        assert said() == ""
        notifier.error = None
        assert said() == ""
        notifier.error = KeyError("loss")
        assert "KeyError" in said(), "failed again after it had recovered"
        assert said() == ""
    assert len(kept()) == 2


async def test_one_run_of_the_list(all_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = run_list.note_spans

    def fail(state: object, view: object) -> object:
        if view.run.path.name == "killed":  # type: ignore[attr-defined]
            raise KeyError("loss")
        return usual(state, view)  # type: ignore[arg-type]

    monkeypatch.setattr(run_list, "note_spans", fail)
    app = make_app(all_runs / "lora", run="sft")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("right_square_bracket", "left_square_bracket")
        for _ in range(len(app.state.runs)):
            shown = pane(app, "runs")
            if "killed" in shown:
                break
            await pilot.press("right_square_bracket")
        at = next(i for i, line in enumerate(shown.splitlines()) if "killed" in line)
        assert "! killed" in shown.splitlines()[at]
        assert "! failed with KeyError, see" in shown.splitlines()[at + 1]
        assert app.query_one("#runs", Pane).fault is None


# -- the files ---------------------------------------------------------------------------------------------------------


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_where_no_file_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LORA_TUI_STATE_DIR", str(tmp_path / "file" / "state"))
    fault = record_fault("pane", "loss", raised(KeyError("loss")))
    assert fault.file is None
    monkeypatch.setenv("LORA_TUI_STATE_DIR", "somewhere/else")
    fault_log.recorded.clear()
    assert record_fault("pane", "loss", raised(KeyError("loss"))).file is None, "no directory is made where we stand"


def test_the_files_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_log, "MOST_FILES", 5)
    for number in range(12):
        record_fault("pane", f"p{number}", raised(KeyError("loss")))
        record_fault("pane", f"p{number}", raised(KeyError("loss")))
    assert len(kept()) == 5


def test_it_holds_no_secret_and_is_not_long() -> None:
    key = "hf_" + "Ab3" * 10
    fault = record_fault("pane", "loss", raised(ValueError(f"token={key} \x1b[31m" + "x" * 1_000_000)))
    assert fault.file is not None
    content = fault.file.read_text()
    assert key not in content + fault.error
    assert "issue tracker of lora-tui" in content
    assert "\x1b" not in content + fault.error
    assert len(content) < 10_000
    assert len(fault.error) < 100


def test_half_a_secret_does_not_stay_where_a_text_is_cut() -> None:
    key = "hf_" + "Ab3xY" * 6
    for before in range(0, len(key), 3):
        fault_log.recorded.clear()
        fault = record_fault("pane", "loss", raised(ValueError("x" * before + f"\n{key}" * 4000)))
        assert fault.file is not None
        content = fault.file.read_text()
        assert "Ab3" not in content, before
        assert "xYA" not in content, before
        # The invisible characters are removed after the cut, which brings what is behind them into sight.
        fault = record_fault("pane", f"p{before}", raised(ValueError("\u200b" * (10_000 - before) + " " + key)))
        assert "Ab3" not in fault.error, before


def test_a_secret_on_the_line_after_its_name_is_masked() -> None:
    fault = record_fault("pane", "loss", raised(ValueError("password:\n  hunter2secret\nlast")))
    assert fault.file is not None
    content = fault.file.read_text()
    assert "hunter2secret" not in content
    assert "last" in content


def test_only_files_of_faults_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_log, "MOST_FILES", 2)
    directory = fault_log.state_dir()
    (directory / "fault-pane-x-00000000.txt").mkdir(parents=True)
    (directory / "fault-in-the-disk.txt").write_text("mine")
    for number in range(4):
        assert record_fault("pane", f"p{number}", raised(KeyError("loss"))).file is not None
    assert (directory / "fault-in-the-disk.txt").read_text() == "mine"
    assert (directory / "fault-pane-x-00000000.txt").is_dir()
    assert len([path for path in directory.glob("fault-pane-p*") if path.is_file()]) == 2


def test_a_link_in_its_place_is_replaced_not_followed(tmp_path: Path) -> None:
    first = record_fault("pane", "loss", raised(KeyError("loss"))).file
    assert first is not None
    (tmp_path / "precious").write_text("mine")
    first.unlink()
    first.symlink_to(tmp_path / "precious")
    fault_log.recorded.clear()
    assert record_fault("pane", "loss", raised(KeyError("loss"))).file == first
    assert not first.is_symlink()
    assert (tmp_path / "precious").read_text() == "mine"


def test_an_error_that_cannot_be_told_is_recorded_all_the_same() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert record_fault("pane", "loss", raised(Odd())).error.endswith("Odd")
