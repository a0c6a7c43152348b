"""Look at processes that may end at any moment: one that has just ended is no error."""

from __future__ import annotations

import os

import psutil

from tests.support.terminal import Terminal


def command_line(process: psutil.Process) -> list[str]:
    """Return the arguments of a process, none once it has ended."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie too
        return []


def state(process: psutil.Process) -> str:
    """Return the state of a process, one of psutil's ``STATUS_…``; ``STATUS_DEAD`` once it has been reaped."""
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_DEAD)


def is_running(pid: int) -> bool:
    """Return whether a process has not ended; a stopped one has not."""
    try:
        return state(psutil.Process(pid)) not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def descendants(terminal: Terminal) -> list[psutil.Process]:
    """Return all processes below the one that the terminal started, zombies too; none once that one has ended."""
    try:
        return list(psutil.Process(terminal.process.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def group(leader: int) -> list[psutil.Process]:
    """Return what still runs of a process group."""
    members = [process for process in psutil.process_iter() if _group_of(process.pid) == leader]
    return [process for process in members if is_running(process.pid)]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None
