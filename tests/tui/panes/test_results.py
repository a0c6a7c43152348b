"""What has changed since the run before, in the results pane and on the results page."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_tui.ingest.follower import Follower
from lora_tui.records.updates import Batch
from lora_tui.runs.workspace import Workspace
from lora_tui.text.cells import cell_width
from lora_tui.tui.options import AppOptions
from lora_tui.tui.state import AppState
from tests.support.app_pilot import LATER, make_app, pane, rows, settled


@pytest.mark.parametrize(
    ("lang", "difference", "against"),
    [("en", "-0.9012 better", "changes: against rerun, the run before"),
     ("zh", "-0.9012 更好", "变化：与上一次运行 rerun 相比")],
)  # fmt: skip
@pytest.mark.parametrize("size", [(120, 40), (200, 50)], ids=["120", "200"])
async def test_beside_the_score(
    all_runs: Path, size: tuple[int, int], lang: str, difference: str, against: str
) -> None:
    app = make_app(all_runs, run="lora/resumed", lang=lang)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        shown = pane(app, "results")
        lines = rows(app)
    assert difference in shown
    assert against in shown
    assert [cell_width(line) for line in lines] == [size[0]] * size[1]
    line = next(line for line in shown.splitlines() if "1.1148" in line)
    assert line.index("1.1148") < line.index(difference)


async def test_on_the_page_it_says_what_is_compared(all_runs: Path) -> None:
    app = make_app(all_runs, run="lora/resumed")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await settled(pilot)
        shown = " ".join(" ".join(line.strip("│ ") for line in pane(app, "page").splitlines()).split())
    assert "-0.9012 better" in shown
    assert "The differences are against rerun: the run before this one with the same model, data and stage" in shown
    assert "evaluated on the same samples" in shown


@pytest.mark.parametrize("name", ["lora/sft", "lora/dpo"])
async def test_without_a_run_before_there_is_no_word_of_it(all_runs: Path, name: str) -> None:
    app = make_app(all_runs, run=name)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "changes: against" not in pane(app, "results")
        await pilot.press("3")
        await settled(pilot)
        assert "The differences" not in pane(app, "page")


async def test_a_run_is_judged_anew_when_its_siblings_are_known(all_runs: Path) -> None:
    """The selected run is on the screen before the others have been read."""
    follower = Follower([all_runs], cwd=all_runs)
    workspace = Workspace([all_runs])
    batches = [batch.runs for batch in follower.read_all()]
    follower.close()
    runs = [item for batch in batches for item in batch]
    first = [item for item in runs if item.path.name == "resumed"]
    workspace.apply(Batch(tuple(first)))
    state = AppState(workspace, AppOptions(clock=lambda: LATER))
    state.judging = True
    run = workspace.runs[0]
    assert state.view(run).judgement.ratings["eval_loss"].basis != "sibling"
    workspace.apply(Batch(tuple(item for item in runs if item not in first), complete=True))
    state.begin_frame()
    rating = state.view(run).judgement.ratings["eval_loss"]
    assert (rating.basis, rating.params["sibling"]) == ("sibling", "sft")
    judged = state.view(run).judgement
    state.begin_frame()
    assert state.view(run).judgement is judged
