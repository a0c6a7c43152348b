"""The state that the panes read: the runs, the selected one, the words, the time of the frame.

The app's own thread alone changes it; what the user chooses is set on the dashboard, which writes it here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

from lora_tui.analysis.context import SIBLINGS, Context
from lora_tui.analysis.judgement import Judgement
from lora_tui.i18n import Words
from lora_tui.runs.run import Progress, ResultSet, Run, Status
from lora_tui.settings.fault_log import Fault, record_fault
from lora_tui.tui.judgement_cache import NOTHING_JUDGED, JudgementCache
from lora_tui.tui.options import AppOptions
from lora_tui.tui.styled_lines import Line
from lora_tui.tui.theme import Palette

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lora_tui.analysis.sibling_index import SiblingIndex
    from lora_tui.runs.workspace import Workspace


T = TypeVar("T")


@dataclass(frozen=True)
class RunView:
    """One run as a frame shows it."""

    run: Run
    now: float
    status: Status
    progress: Progress
    judgement: Judgement
    fault: Fault | None = None
    """The error that one of these ended with and that stands for it, or None."""

    @property
    def results(self) -> Mapping[str, ResultSet]:
        return self.run.results()


_OPEN, _CLOSE = "\x01", "\x02"
"""Mark the values inside a text of the catalogue; sanitized text from files never holds them."""


class AppState:
    """Everything that the panes read."""

    def __init__(self, workspace: Workspace, options: AppOptions) -> None:
        self.workspace = workspace
        self.options = options
        self.words = Words(options.lang)
        self.lang = options.lang
        self.ascii = options.glyphs == "ascii"
        self.wide = False
        """Whether the terminal draws characters of ambiguous width in two cells."""
        self.palette = Palette({}, False)
        self.theme = ""
        self.page = "overview"
        self.drawer = False
        self.focus = "runs"
        self.card = 0
        self.finding = 0
        self.selected: Run | None = None
        self._newest_instead: Run | None = None
        self._named_run = options.run or ""
        self.notes: tuple[str, ...] = ("waiting_for_path",) if options.missing else ()
        """Codes of the follower's notes on the watching itself."""
        self.errors: tuple[tuple[str, str], ...] = ()
        """Directories that cannot be read, with the reason."""
        self.read_error: str | Fault = ""
        """The error of the last turn of reading, a fault where it is one of this program; empty after one without."""
        self.search_fault: Fault | None = None
        """The error of this program with which the last search for runs and changes ended, or None."""
        self.note = ""
        """What just happened, said in the footer for some seconds."""
        self.now = options.clock()
        self.judging = False
        """Whether runs are judged; False until the first frame is written, as the rules are loaded after it."""
        self.places: frozenset[str] = frozenset()
        """The names of the panes that are seen."""
        self._unread: set[Path] = set()
        """Runs that have been sampled and are to be read in full, to be judged."""
        self.request_full_read: Callable[[set[Path]], object] = len
        """Called with the directories of such runs."""
        self.chart_stamp = 0
        """A number that grows whenever the curves are to be drawn anew."""
        self._views: dict[object, tuple[int, float, RunView]] = {}
        self._once: dict[object, tuple[RunView, object]] = {}
        self._states: dict[object, tuple[int, float, Status]] = {}
        self._faults: dict[tuple[Path, str], Fault] = {}
        """Run and part of its view -> the error that this part ended with the last time."""
        self._views_made = 0
        self.judgements = JudgementCache(self._judge)
        self._families = 0
        self._all_known = workspace.complete

    @property
    def look(self) -> tuple[object, ...]:
        """What every drawing depends on besides the data."""
        return (self.theme, self.lang, self.ascii, self.wide)

    @cached_property
    def sibling_index(self) -> SiblingIndex:
        """The runs that each run is compared with."""
        # Loaded when it is first needed, which is after the first frame.
        from lora_tui.analysis.sibling_index import SiblingIndex

        return SiblingIndex(self.workspace)

    def inputs(self) -> tuple[object, ...]:
        """Return what a drawing depends on besides :attr:`look`, to see whether a drawing that failed is worth another
        try."""
        return (
            self._views_made, len(self.runs), sum(run.revision for run in self.runs), self.selected, self.page,
            self.drawer, self.focus, self.card, self.finding, self.ascii, self.places, self.note, self.read_error,
            self.search_fault, self.notes, self.errors,
        )  # fmt: skip

    @property
    def runs(self) -> list[Run]:
        """All runs, newest first."""
        return self.workspace.runs

    @property
    def index(self) -> int:
        """Index of the selected run in the list; 0 where none is selected."""
        return next((i for i, run in enumerate(self.runs) if run is self.selected), 0)

    def begin_frame(self) -> None:
        """Set the time of a new frame, and drop what holds for one frame only."""
        self.now = self.options.clock()
        self._once.clear()
        self.judgements.next_frame()
        if self.workspace.complete and (families := self._family_changes()) != self._families:
            # Runs are judged by their siblings too. Not before all are known: every run read would judge all again.
            self._families = families
            self._views.clear()
            self.judgements.clear()

    def _family_changes(self) -> int:
        try:
            return self.sibling_index.changes()
        except Exception as error:  # the judgement of the run that raises this shows it
            record_fault("run", "siblings", error)
            return self._families

    def cached(self, make: Callable[[AppState, RunView], T], view: RunView) -> T:
        """Return ``make(self, view)``, made once a frame though several panes ask for it."""
        key = (make, view.run.path, self.lang, self.places)
        kept = self._once.get(key)
        if kept is None or kept[0] is not view:
            kept = self._once[key] = (view, make(self, view))
        return cast("T", kept[1])

    def run_to_select(self) -> Run | None:
        """Return the run to show now: the selected one while it exists, else the newest, else None.

        The run that the command line names replaces the newest as soon as it is found, which may be at the end of the
        first reading, unless the user has chosen another one before.
        """
        runs = self.runs
        waits = self._named_run and self.selected is self._newest_instead
        if waits and (found := self.workspace.find(self._named_run)):
            self._named_run = ""
            return found[0]
        if self.selected is None or not any(run is self.selected for run in runs):
            self._newest_instead = runs[0] if runs else None
            return self._newest_instead
        return self.selected

    def view(self, run: Run) -> RunView:
        """Return a run as it looks now.

        The view is made anew only where the run changed or, for a live run, the time did, and once when all runs to
        compare it with are known.
        """
        if self._all_known != self.workspace.complete:
            self._all_known = self.workspace.complete
            self._views.clear()
            self.judgements.clear()
        kept = self._views.get(run.path)
        if kept is not None and kept[0] == run.revision:
            old = kept[2]
            fresh = kept[1] == self.now or not old.status.live
            if fresh and old.run is run and (not self.judging or old.judgement is not NOTHING_JUDGED):
                return old
        status = self.status(run)
        judgement: Judgement | None = NOTHING_JUDGED
        if self.judging and not run.partial and self._attempt(run, "siblings", lambda: self._read_in_full(run), True):
            judgement = self.judgements.get(run, status, at_once=run is self.selected)
        progress = self._attempt(run, "progress", lambda: run.progress(self.now), Progress())
        self._views_made += 1
        fault = next((fault for (path, _), fault in self._faults.items() if path == run.path), None)
        for error in run.faults.values():
            # What was not read is the cause of what cannot be judged.
            fault = record_fault("reading", "run", error)
        if judgement is None:
            return RunView(run, self.now, status, progress, self.judgements.last_known(run), fault)
        view = RunView(run, self.now, status, progress, judgement, fault)
        self._views[run.path] = (run.revision, self.now, view)
        return view

    def _read_in_full(self, run: Run) -> bool:
        """Return whether the run and those that it is compared with are read in full; note those that are not."""
        sampled = [other.path for other in (run, *self.sibling_index.siblings(run)[:SIBLINGS]) if other.sampled]
        self._unread.update(sampled)
        return not sampled

    def request_full_reads(self) -> None:
        """Have the sampled runs read in full that came into sight since the last call."""
        unread, self._unread = self._unread, set()
        if unread:
            self.request_full_read(unread)

    def current(self) -> RunView | None:
        """Return the selected run as it looks now, or None where there is none."""
        return self.view(self.selected) if self.selected is not None else None

    def any_live(self) -> bool:
        """Return whether some run may still go on, so that the screen depends on the time."""
        return any(self.status(run).live for run in self.runs)

    def status(self, run: Run) -> Status:
        """Return the status of a run, kept until the run changes or, for a live one, the time does."""
        kept = self._states.get(run.path)
        if kept is not None and kept[0] == run.revision and (kept[1] == self.now or not kept[2].live):
            return kept[2]
        status = self._attempt(run, "status", lambda: run.status(self.now), Status("waiting"))
        if run.partial:
            # Only the end of its log says whether it still goes on, and how well.
            status = Status("waiting", "reading", since=status.since)
        self._states[run.path] = (run.revision, self.now, status)
        return status

    def _judge(self, run: Run) -> Judgement:
        from lora_tui.analysis import judge

        return self._attempt(run, "judgement", lambda: judge(run, self.now, self.context(run)), Judgement())

    def _attempt(self, run: Run, part: str, make: Callable[[], T], otherwise: T) -> T:
        """Return what ``make`` returns, or ``otherwise`` where it raises: an error in one part of one run's view is
        shown with that run and ends nothing else."""
        try:
            made = make()
        except Exception as error:  # recorded, and shown as RunView.fault
            self._faults[run.path, part] = record_fault("run", part, error)
            return otherwise
        if self._faults:
            self._faults.pop((run.path, part), None)
        return made

    def update_extremes(self, run: Run) -> None:
        """Update what the charts of a run take from its series, so that the next drawing takes less time."""

        def update() -> None:
            for series in run.series.values():
                series.update_extremes()

        self._attempt(run, "extremes", update, None)

    def context(self, run: Run) -> Context:
        """Return what this run is judged with: the settings, and the runs to compare it with."""
        return replace(self.options.context, siblings=self.sibling_index.siblings(run))

    # -- words ---------------------------------------------------------------------------------------------------

    def phrase(
        self, key: str, role: str = "text", label: str = "muted", count: int | None = None, **params: str
    ) -> Line:
        """Return a sentence of the catalogue as a line: its values in ``role``, its own words in the role ``label``."""
        marked = {name: f"{_OPEN}{value}{_CLOSE}" for name, value in params.items()}
        if count is not None:
            text = self.words.n(key, count, n=f"{_OPEN}{count}{_CLOSE}", **marked)
        else:
            text = self.words.t(key, **marked)
        out: Line = []
        for part in text.split(_OPEN):
            value, close, rest = part.partition(_CLOSE)
            if not close:
                value, rest = "", value
            out += [(value, role)] if value else []
            out += [(rest, label)] if rest else []
        return out
