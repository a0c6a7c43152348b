"""The terminal app: one screen of panes on the runs that a follower reads in a thread."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.screen import Screen
from textual.timer import Timer

from lora_tui.settings.fault_log import Fault, fault_text, record_fault
from lora_tui.settings.settings import THEMES
from lora_tui.text.sanitize import clean
from lora_tui.tui import theme
from lora_tui.tui.dashboard import Dashboard, MainScreen
from lora_tui.tui.judgement_cache import POSTPONED_S
from lora_tui.tui.keys import app_bindings, commands_of
from lora_tui.tui.navigation import Navigator
from lora_tui.tui.options import AppOptions
from lora_tui.tui.reader_thread import BatchRead, CommandFailed, ReaderThread, ReadingFailed
from lora_tui.tui.repaint import Repainter
from lora_tui.tui.state import AppState
from lora_tui.tui.terminal import textual_patches

if TYPE_CHECKING:
    from lora_tui.ingest.follower import Follower
    from lora_tui.runs.workspace import Workspace
    from lora_tui.tui.screens.text_screen import TextScreen

FRAME_S = 0.01
"""Seconds that the first frame is given to be written."""
DOUBLE_S = 0.6
"""Seconds within which a second g follows the first."""
EVENTS_S = 0.02
"""Seconds that one check for events may take."""
NOTE_S = 10.0
"""Seconds for which the footer says what just happened."""


class LoraTuiApp(App[int]):
    """The app of ``lora-tui watch`` and ``lora-tui demo``.

    Its actions are those of the table in :mod:`lora_tui.tui.keys`.
    """

    TITLE = "lora-tui"
    CSS = """
    MainScreen { background: $lora-page; color: $lora-text; }
    SearchIcon { display: none; }
    .-ascii-glyphs CommandPalette #--input { border: ascii $border; }
    .-ascii-glyphs CommandPalette #--input.--list-visible { border: ascii $border; }
    .-ascii-glyphs CommandPalette CommandList { border: none; scrollbar-size-vertical: 0; }
    """
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = app_bindings()

    def __init__(self, workspace: Workspace, follower: Follower | None, options: AppOptions) -> None:
        self.state = AppState(workspace, options)
        # Without colours the terminal's own two are used, which Textual must know before it chooses its colour filter.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self._patches = textual_patches.install(self)
        self.follower = follower
        if follower is not None:
            self.state.request_full_read = follower.request_full_read
        self.options = options
        self.asks_width = options.ask_width
        for each in theme.themes():
            self.register_theme(each)
        self.theme = "ansi" if self.no_color else options.theme
        self._dashboard = Dashboard(self.state)
        self._repainter = Repainter(self, self.state, self._dashboard, lambda: self.backlog_s)
        self._navigator = Navigator(self.state, self._dashboard)
        self._g_at = float("-inf")
        self._complete = False
        self._reader = ReaderThread(self.post_message)
        self._note_timer: Timer | None = None
        self._events_fault: Fault | None = None
        """The error of the last check for events, which was said when it was new; None after a check without one."""
        self._leaving = self._up = False
        self.set_class(self.state.ascii, "-ascii-glyphs")

    # -- life ----------------------------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.defaults()

    def get_default_screen(self) -> Screen[None]:
        screen = MainScreen()
        if self._patches is not None:
            self._patches.narrow(screen)
        return screen

    def compose(self) -> ComposeResult:
        self._dashboard.start(self.state.run_to_select())
        self._restyle()
        yield self._dashboard

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda _: self._on_theme())
        # Published by Textual's own driver only, which leaves the screen empty after fg.
        self.app_resume_signal.subscribe(self, lambda _: self.come_back())
        self._catch_signals()
        self._up = True
        if self._leaving:
            self.exit(0)
        # Not at once: loading the rules would hold up the thread that writes the frame.
        self.call_after_refresh(lambda: self.set_timer(FRAME_S, self._after_first_frame))

    def _after_first_frame(self) -> None:
        """Start everything that the first frame can do without."""
        if self._leaving:
            return
        # The objects loaded until now stay until the end: the garbage collector need not look at them again.
        gc.freeze()
        gc.enable()
        self.state.judging = True
        if self.follower is not None and self.options.screenshot is None:
            self.state.judgements.postpone(POSTPONED_S)
        self._repainter.paint(charts=False)
        self._repainter.start_clock(self._report_events)
        if self.follower is not None:
            self.run_worker(partial(self._reader.run, self.follower), name="reader", group="reader", thread=True)

    def leave(self) -> None:
        """End the app now, or as soon as it has taken over the screen."""
        self._leaving = True
        if self._up:
            self.exit(0)

    def _catch_signals(self) -> None:
        """End the app on signals, so that the terminal is restored."""
        import asyncio

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            try:
                loop.add_signal_handler(number, self.leave)
            except (NotImplementedError, RuntimeError, ValueError):
                continue

    def on_unmount(self) -> None:
        if self.follower is not None:
            self.follower.wake()

    # -- the terminal --------------------------------------------------------------------------------------------

    @property
    def crash(self) -> str:
        """Python's traceback of the exception that ended the app; empty if none did, or if Textual prints its own."""
        return self._patches.crash if self._patches is not None else ""

    @property
    def backlog_s(self) -> float:
        """Seconds that the terminal is behind what was drawn; 0 where its line is not slow."""
        return self._patches.backlog_s if self._patches is not None else 0.0

    def catch_up(self) -> None:
        """Paint what was put off, unless the terminal is still behind."""
        if self._patches is not None:
            self._patches.catch_up()

    def stop_input(self) -> None:
        """End the thread that reads keys, where the app has ended without it."""
        if self._patches is not None:
            self._patches.stop_input()

    def come_back(self) -> None:
        """Draw everything anew after a stop, with what has changed meanwhile."""
        if self._up and not self._leaving and self.screen_stack:
            self.screen.refresh(self.screen.size.region)
            self._repainter.paint(charts=True)

    def use_narrow_glyphs(self) -> None:
        """Draw with ASCII, where half of a glyph would lie over its neighbour."""
        if not self.state.wide:
            self.state.wide = True
            self._dashboard.glyphs = "ascii"
            self.set_class(True, "-ascii-glyphs")

    # -- reading -------------------------------------------------------------------------------------------------

    def on_batch_read(self, message: BatchRead) -> None:
        batch, state = message.batch, self.state
        self._reader.batch_applied(batch.complete)
        try:
            changed, error = state.workspace.apply(batch), batch.error
        except Exception as caught:  # shown in the footer; the next batch is applied all the same
            changed, error = set(), caught
        if not batch.complete and state.selected is not None:
            # A part with each batch: all at once, with the next chart, would keep a key waiting.
            state.update_extremes(state.selected)
        before = (state.notes, state.errors, state.search_fault)
        state.notes, state.errors = batch.notes, batch.errors
        state.search_fault = record_fault("search", "runs", error) if error is not None else None
        for code in set(batch.notes) - {*before[0], "waiting_for_path"}:
            self._note(state.words.t(f"note.{code}"))
        first = batch.complete and not self._complete
        if first:
            state.judgements.postpone(0.0)
        if batch.runs or first or before != (state.notes, state.errors, state.search_fault):
            state.read_error = ""
            selected = state.selected
            self._dashboard.selected = state.run_to_select()
            if first:
                # Parts were shown now and then; the whole is shown at once.
                self._repainter.paint(charts=True)
            elif state.selected is selected:
                self._repainter.paint_soon(charts=state.selected in changed, load=not batch.complete)
        self._report_events()
        if first:
            self._complete = True
            if self.options.screenshot is not None:
                self.call_after_refresh(self.write_screenshot)

    def on_reading_failed(self, message: ReadingFailed) -> None:
        error = message.error
        if error is None or isinstance(error, OSError):
            self.state.read_error = str(error) if error is not None else ""
        else:
            self.state.read_error = record_fault("search", "thread", error)
        self._repainter.paint(charts=False)

    def write_screenshot(self) -> None:
        """Write the screen as SVG to the file of the options, then end the app; wait for pending judgements before."""
        path = self.options.screenshot
        if path is not None and self.state.judgements.pending:
            self.call_later(self.write_screenshot)
            return
        if path is not None:
            from lora_tui.tui.screenshot import fix_wide_text

            path.write_text(fix_wide_text(self.export_screenshot(title="lora-tui")), encoding="utf-8")
        self.exit(0)

    # -- events --------------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.MouseDown, events.MouseScrollDown, events.MouseScrollUp)):
            self._reader.key_pressed()
        await super().on_event(event)

    def _report_events(self) -> None:
        """Report the events of runs, where a notifier is configured and no run is half read."""
        notifier, state = self.options.notifier, self.state
        if notifier is None or not self._reader.complete:
            return
        try:
            reported = notifier.check(state.runs, state.now, state.words, state.status, EVENTS_S)
        except Exception as error:  # an error in the report of events ends nothing else
            fault = record_fault("command", "events", error)
            if fault != self._events_fault:
                self._events_fault = fault
                self._note(fault_text(fault, state.words))
            return
        self._events_fault = None
        if reported:
            if notifier.bell:
                self.bell()
            self._note(reported[-1])

    def command_failed(self, line: str) -> None:
        """Say in the footer that the user's command for events has failed. May be called from any thread."""
        self.post_message(CommandFailed(line))

    def on_command_failed(self, message: CommandFailed) -> None:
        self._note(message.line)

    def _note(self, text: str) -> None:
        """Say something in the footer for NOTE_S seconds."""
        self._dashboard.note = text
        if self._note_timer is not None:
            self._note_timer.stop()
        self._note_timer = self.set_timer(NOTE_S, lambda: self._note("")) if text else None

    def _restyle(self) -> None:
        self.state.palette = theme.Palette(self.theme_variables, self.current_theme.ansi)
        self.state.theme = self.theme

    def _on_theme(self) -> None:
        self._restyle()
        self._repainter.paint(charts=True)

    # -- actions -------------------------------------------------------------------------------------------------

    def action_select(self, index: int) -> None:
        self._navigator.focus("runs")
        self._navigator.select(index)

    def action_walk(self, by: int) -> None:
        self._navigator.select(self.state.index + by)

    def action_move(self, by: int) -> None:
        self._navigator.move(by)

    def action_leap(self, by: int) -> None:
        self._navigator.leap(by)

    def action_top(self) -> None:
        """Go to the first, on the second g."""
        now = time.monotonic()
        if now - self._g_at <= DOUBLE_S:
            self._g_at = float("-inf")
            self._navigator.move(-1_000_000)
        else:
            self._g_at = now

    def action_ring(self, by: int) -> None:
        if isinstance(self.screen, MainScreen):
            self._navigator.move_focus(by)

    def action_card(self, index: int) -> None:
        if self._navigator.point("cards", index):
            self.action_open()

    def action_finding(self, index: int) -> None:
        if self._navigator.point("findings", index):
            self.action_open()

    def action_open(self) -> None:
        """Close the drawer over the chosen run, or explain the card or finding in focus."""
        state = self.state
        if state.page != "overview":
            return
        if state.drawer or state.focus == "runs":
            self._navigator.move_focus(1)
            return
        from lora_tui.tui.screens.explain import explain

        self._open("explain", lambda: explain(state))

    def action_layer_back(self) -> None:
        self._navigator.back()

    def action_page(self, page: str) -> None:
        self._navigator.page(page)

    def action_language(self) -> None:
        """Change between English and Chinese, also for the next start."""
        language = self._dashboard.language = "zh" if self._dashboard.language == "en" else "en"
        self._save_choice("lang", language)

    def action_theme(self) -> None:
        """Change to the next theme, also for the next start."""
        themes: tuple[str, ...] = THEMES
        self.theme = themes[(themes.index(self.theme) + 1) % len(themes)] if self.theme in themes else themes[0]
        self._save_choice("theme", self.theme)

    def _save_choice(self, key: str, value: str) -> None:
        """Save a choice for the next start, or say in the footer why that failed."""
        words = self.state.words
        try:
            self.options.save_choice(key, value)
        except OSError as error:
            reason = words.reason(error.strerror or str(error))
            self._note(words.t("cli.error.write", path=clean(str(error.filename or key)), reason=reason))

    def action_help(self) -> None:
        """Show the keys of the open page."""
        from lora_tui.tui.screens.text_screen import HelpScreen

        if isinstance(self.screen, MainScreen):
            self._open("help", lambda: HelpScreen(self.state))

    def action_report(self) -> None:
        """Show the report of the selected run, which keys write to files."""
        view = self.state.current()
        if view is not None and isinstance(self.screen, MainScreen):
            from lora_tui.tui.screens.report import ReportScreen

            self._open("report", lambda: ReportScreen(self.state, view))

    def _open(self, name: str, build: Callable[[], TextScreen | None]) -> None:
        """Show a screen of text over the dashboard, if there is something to show."""
        from lora_tui.tui.screens.text_screen import screen_or_fault

        screen = screen_or_fault(self.state, name, build)
        if screen is not None:
            self.push_screen(screen)

    def action_command_palette(self) -> None:
        """Show the command palette."""
        from lora_tui.tui.screens.palette import Palette

        if isinstance(self.screen, MainScreen):
            placeholder = self.state.words.t("keys.palette")
            self.push_screen(Palette(placeholder=placeholder, id="--command-palette"))

    async def action_quit(self) -> None:
        """End the app."""
        self.leave()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the commands of the open page for the palette."""
        words = self.state.words
        for command in commands_of(self.state.page):
            if command.code == "palette":
                continue
            run = partial(self.run_action, command.action)
            yield SystemCommand(words.t(f"keys.{command.code}"), command.shown, run)
