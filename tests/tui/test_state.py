"""What the app judges with: the user's rules, and the other runs as soon as they are known."""

from dataclasses import replace

from lora_tui.analysis import PLAIN
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.ingest.follower import Follower
from lora_tui.runs.workspace import Workspace
from lora_tui.tui.options import AppOptions
from lora_tui.tui.state import AppState
from tests.support.app_pilot import LATER


def test_a_run_is_judged_again_when_all_others_are_known(all_runs):
    follower = Follower([all_runs])
    workspace = Workspace(follower.roots)
    for batch in follower.read_all():
        workspace.apply(batch)
    follower.close()
    index = SiblingIndex(workspace)
    run = next(run for run in workspace.runs if run.name == "lora/sft" and index.siblings(run))
    state = AppState(workspace, AppOptions(clock=lambda: LATER))
    state.judging = True
    workspace.complete = False
    first = state.view(run)
    assert state.view(run) is first
    workspace.complete = True
    assert state.view(run) is not first
    assert state.context(run).siblings == index.siblings(run)


def test_the_rules_of_the_user(all_runs):
    workspace = Workspace([all_runs])
    context = replace(PLAIN, off=frozenset({"no_eval"}))
    state = AppState(workspace, AppOptions(context=context))
    state.judging = True
    for batch in Follower([all_runs / "lora/default"]).read_all():
        workspace.apply(batch)
    view = state.view(workspace.runs[0])
    assert "no_eval" not in [finding.code for finding in view.judgement.findings]
