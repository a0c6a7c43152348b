"""Private parts of Textual: used in one module alone, behind one check, and the app runs without them."""

from __future__ import annotations

import ast
import importlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from textual import events
from textual._compositor import ChopsUpdate, Compositor
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

import lora_tui
from lora_tui.tui.terminal import textual_patches
from lora_tui.tui.terminal.textual_patches import PRIVATE_PARTS, REPLACED_METHODS, install, missing_parts
from tests.support.app_pilot import make_app, rows, settled, text
from tests.support.live_app import PYTHON, row, write_run
from tests.support.terminal import Terminal

PACKAGE = Path(lora_tui.__file__).parent
PICTURE = Path(__file__).parents[1] / "pictures" / "lora-sft-120x40-en.txt"


# -- the check ---------------------------------------------------------------------------------------------------------


def test_the_installed_textual_has_all_parts() -> None:
    assert missing_parts() == ()


@pytest.mark.parametrize(
    "part",
    [("textual.app", "App", ("_is_gone",)), ("textual.app", "Gone", ("x",)), ("textual._gone", "Gone", ("x",))],
    ids=["attribute", "class", "module"],
)
def test_a_part_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch, part: tuple[str, str, tuple[str, ...]]) -> None:
    monkeypatch.setattr(textual_patches, "PRIVATE_PARTS", (*PRIVATE_PARTS, part))
    module, name, (attribute,) = part
    assert missing_parts() == (f"{module}.{name}.{attribute}",)


@pytest.mark.parametrize("method", REPLACED_METHODS, ids=lambda method: method[2])
def test_a_method_with_other_parameters_is_named(
    monkeypatch: pytest.MonkeyPatch, method: tuple[str, str, str, tuple[str, ...]]
) -> None:
    module, name, attribute, parameters = method
    other = (module, name, attribute, (*parameters, "more"))
    monkeypatch.setattr(
        textual_patches, "REPLACED_METHODS", tuple(other if each == method else each for each in REPLACED_METHODS)
    )
    assert missing_parts() == (f"{module}.{name}.{attribute}",)


async def test_nothing_of_an_app_is_replaced_where_a_part_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MessagePump, "_close_messages_no_wait")
    app: App[int] = App()
    before = (app.driver_class, app._display, app._fatal_error)
    assert install(app) is None
    assert (app.driver_class, app._display, app._fatal_error) == before


# -- Escape and the key after it ---------------------------------------------------------------------------------------


def keys_of(*typed: str) -> list[str]:
    """Return what is made of this input, followed by a pause: names of keys, else of events."""
    parser = textual_patches._parser_class()()
    found = [event for each in typed for event in parser.feed(each)]
    if parser._timeout_time is not None:
        parser._timeout_time = 0.0
        found += parser.tick()
    return [event.key if isinstance(event, events.Key) else type(event).__name__ for event in found]


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("\x1bq", ["escape", "q"]),
        ("\x1bG", ["escape", "G"]),
        ("\x1b3", ["escape", "3"]),
        ("\x1b?", ["escape", "question_mark"]),
        ("\x1b:", ["escape", "colon"]),
        ("\x1b\r", ["escape", "enter"]),
        ("\x1b\x03", ["escape", "ctrl+c"]),
        ("\x1bjjj", ["escape", "j", "j", "j"]),
        ("\x1b1\x1bq", ["escape", "1", "escape", "q"]),
        ("\x1b\x1bq", ["escape", "escape", "q"]),
        ("\x1b\x1b[A", ["escape", "up"]),
        ("\x1b]", ["escape", "right_square_bracket"]),
        ("\x1b[", ["escape", "left_square_bracket"]),
    ],
)
def test_escape_and_a_key_are_two_keys(typed: str, keys: list[str]) -> None:
    assert keys_of(typed) == keys
    assert keys_of(*typed) == keys, "one at a time"


def test_keys_after_escape_wait_for_no_pause() -> None:
    parser = textual_patches._parser_class()()
    assert [*parser.feed("\x1b")] == []
    assert [event.key for event in parser.feed("q") if isinstance(event, events.Key)] == ["escape", "q"]
    assert parser._timeout_time is None


@pytest.mark.parametrize(
    "sent",
    [
        "\x1b", "q", "\x1b[A", "\x1bOA", "\x1bOP", "\x1b[1;5C", "\x1b[Z", "\x1b\t", "\x1b\x7f", "\x1bf", "\x1b[27u",
        "\x1b[113;3u", "\x1b[3;1R", "\x1b[?2026;2$y", "\x1b[I", "\x1b[<0;3;4M", "\x1b[200~a\x1bq\x1b:\x1b[201~",
    ],
)  # fmt: skip
def test_everything_else_is_what_textual_makes_of_it(monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    ours = (keys_of(sent), keys_of(*sent))
    monkeypatch.setattr(textual_patches, "_parser_class", lambda: XTermParser)
    assert ours == (keys_of(sent), keys_of(*sent))
    assert ours[0]


# -- the app without them ----------------------------------------------------------------------------------------------


@pytest.fixture
def without_patches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An app of public parts, with the clocks of the pictures."""
    monkeypatch.setattr(textual_patches, "missing_parts", lambda: ("textual.app.App._display",))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("without_patches")
async def test_the_same_screen_and_keys_on_public_parts_alone(all_runs: Path) -> None:
    app = make_app(all_runs, run="lora/sft")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "\n".join(line.rstrip() for line in rows(app)) + "\n" == PICTURE.read_text(encoding="utf-8")
        await pilot.press("6")
        await settled(pilot)
        assert "adapter_config.json" in text(app)
        await pilot.press("1", "tab", "enter")
        await settled(pilot)
        assert "How far the predictions are" in text(app)
        await pilot.press("escape", "q")
    assert app.return_code == 0
    assert app.crash == ""


WITHOUT = """
import sys
from lora_tui.tui.terminal import textual_patches
textual_patches.PRIVATE_PARTS += (("textual.app", "App", ("_is_gone",)),)
from lora_tui.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.pty
def test_in_a_terminal_on_public_parts_alone(tmp_path: Path) -> None:
    """It draws, follows a live run, answers keys, leaves by a key, and the terminal is as it was."""
    run = write_run(tmp_path / "saves/a", [3.0, 2.5, 2.25], 10)
    env = {**PYTHON, "LORA_TUI_CONFIG_DIR": str(tmp_path / "settings")}
    with Terminal([sys.executable, "-c", WITHOUT, "watch", "saves"], 120, 40, env, tmp_path) as terminal:
        terminal.wait_for("loss 2.2500", "quit")
        with (run / "trainer_log.jsonl").open("a") as log:
            log.write(json.dumps(row(4, 1.2345)) + "\n")
        terminal.wait_for("1.2345")
        terminal.send("6")
        terminal.wait_for("─ config ─")
        terminal.send("L")
        terminal.wait_for("配置")
        terminal.resize(100, 30)
        terminal.wait_for("配置")
        terminal.send("q")
        assert terminal.wait_exit() == 0
        assert terminal.left_behind() == []


# -- one module alone --------------------------------------------------------------------------------------------------


def private(names: Iterable[str]) -> set[str]:
    """Names that begin with an underscore, but for Python's own."""
    return {name for name in names if name.startswith("_") and not name.endswith("__")}


def named_by(cls: type) -> set[str]:
    """Private attributes that a class has or that its methods name."""
    codes = (getattr(getattr(value, "fget", value), "__code__", None) for value in vars(cls).values())
    return private(vars(cls)).union(*(private(code.co_names) for code in codes if code is not None))


def textual_bases(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.split(".")[0] == "textual"]


PRIVATE_TO_TEXTUAL = {
    name
    for cls in (App, Screen, Widget, LinuxDriver, Compositor, ChopsUpdate, WriterThread, Timer, Strip, Message)
    for base in textual_bases(cls)
    for name in named_by(base)
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """All modules of the package but the one that may."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name not in ("textual_patches.py", "__main__.py"):
            name = ".".join(("lora_tui", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_no_other_module_imports_a_private_module_or_name_of_textual() -> None:
    for name, tree in modules():
        for node in ast.walk(tree):
            found: list[str] = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "textual":
                found = [*(node.module or "").split("."), *(each.name for each in node.names)]
            elif isinstance(node, ast.Import):
                found = [
                    part for each in node.names if each.name.startswith("textual") for part in each.name.split(".")
                ]
            assert not private(found), name


def test_no_other_module_touches_a_private_attribute_of_an_object_of_textual() -> None:
    for name, tree in modules():
        touched = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self")
        }
        assert not touched & PRIVATE_TO_TEXTUAL, name


def test_no_class_derived_from_textual_s_uses_or_hides_what_is_private_there() -> None:
    checked = 0
    for name, tree in modules():
        for node in ast.walk(tree):
            cls = getattr(importlib.import_module(name), node.name, None) if isinstance(node, ast.ClassDef) else None
            if cls is None or not textual_bases(cls):
                continue
            own = {each.name for each in ast.walk(node) if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
            own |= {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
            inherited = set().union(*(named_by(base) for base in textual_bases(cls)))
            assert not private(own) & inherited, cls
            checked += 1
    assert checked > 20
