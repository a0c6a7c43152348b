"""``ls`` and ``status``: the same runs and judgements as the app, as text and as JSON, without a terminal."""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lora_tui.errors import CommandError
from lora_tui.follow import Follower
from lora_tui.insight import judge
from lora_tui.keep import load_kept
from lora_tui.locale import Words, resolve_language
from lora_tui.run import Run
from lora_tui.text import cell_width, clean, fit, fixed4, number
from lora_tui.workspace import Workspace


def _words(lang: str, for_json: bool) -> Words:
    """JSON speaks English unless told otherwise; people get the language that they chose."""
    if for_json:
        return Words("zh" if lang == "zh" else "en")
    return Words(resolve_language(lang, load_kept().get("lang"), os.environ))


def _read(paths: Sequence[Path], logs: Sequence[Path] = (), poll: bool = False) -> tuple[Follower, Workspace]:
    follower = Follower(paths, logs, poll, cwd=Path.cwd())
    workspace = Workspace(follower.roots)
    for batch in follower.read_all():
        workspace.apply(batch)
    return follower, workspace


def _check_paths(follower: Follower, words: Words) -> None:
    for path in follower.missing:
        raise CommandError(words.t("cli.error.no_path", path=_shown(path)))
    for path, why in follower.errors.items():
        if path in follower.roots:
            raise CommandError(words.t("cli.error.read", path=_shown(path), reason=why))


def _shown(path: Path | str) -> str:
    return clean(str(path))


_UNSEEN = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""JSON may hold these as they are, but a terminal obeys some and hides the others, and half a surrogate is no UTF-8."""


def _dump(data: object, indent: int | None) -> str:
    encoding = sys.stdout.encoding or ""
    plain = encoding.lower().replace("-", "") not in ("utf8", "utf_8")
    text = json.dumps(data, ensure_ascii=plain, allow_nan=False, indent=indent)
    return _UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], text)


# -- ls ----------------------------------------------------------------------------------------------------------


def ls(args: argparse.Namespace) -> int:
    """The runs below the paths as a table or a JSON array."""
    words = _words(args.lang, args.json)
    follower, workspace = _read(args.paths or [Path()], args.log)
    follower.close()
    _check_paths(follower, words)
    now = time.time()
    runs = sorted(workspace.runs, key=lambda run: _sort_key(run, args.sort, now))
    for path, why in follower.errors.items():
        _complain(words.t("cli.error.read", path=_shown(path), reason=why))
    if args.json:
        print(_dump([_plain(run, now, words) for run in runs], 2))
    elif runs:
        names = ("state", "name", "step", "done", "loss", "eval", "stage", "updated")
        print(_table([[words.t(f"cli.ls.{name}") for name in names], *[_row(run, now, words) for run in runs]]))
    else:
        _complain(words.t("cli.ls.none", path=", ".join(_shown(path) for path in follower.roots)))
    return 0


def _plain(run: Run, now: float, words: Words) -> dict[str, object]:
    # No plugin of the environment has a say in this schema, and pydantic's search for them takes as long as the run.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from lora_tui.report.snapshot import snapshot

    return snapshot(run, now, words).to_json()


def _complain(text: str) -> None:
    print(f"lora-tui: {text}", file=sys.stderr)


def _sort_key(run: Run, key: str, now: float) -> tuple[float, float, str]:
    if key == "name":
        return 0.0, 0.0, run.name
    if key == "state":
        order = ("failed", "interrupted", "stalled", "running", "evaluating", "waiting", "stopped", "finished")
        return float(order.index(run.status(now).state)), 0.0, run.name
    if key == "step":
        return -float(run.progress(now).step or 0), 0.0, run.name
    if key in ("loss", "eval_loss"):
        series = run.series.get(key)
        value = None
        if series is not None:
            value = series.smoothed if key == "loss" else series.min
        missing = value is None or not math.isfinite(value)
        return float(missing), 0.0 if missing or value is None else value, run.name
    return -(run.activity or 0.0), 0.0, run.name


def _row(run: Run, now: float, words: Words) -> list[str]:
    status, progress = run.status(now), run.progress(now)
    loss, evals = run.series.get("loss"), run.series.get("eval_loss")
    total = f"/{progress.total_steps}" if progress.total_steps else ""
    return [
        words.state(status),
        clean(run.name),
        f"{progress.step}{total}" if progress.step is not None else "-",
        f"{math.floor(100 * progress.fraction)}%" if progress.fraction is not None else "-",
        fixed4(loss.last) if loss is not None and loss.last is not None else "-",
        fixed4(evals.last) if evals is not None and evals.last is not None else "-",
        _what(run) or "-",
        words.age(max(0.0, now - run.activity)) if run.activity is not None else "-",
    ]


RIGHT = frozenset({2, 3, 4, 5, 7})
"""Columns of numbers."""


def _table(rows: list[list[str]]) -> str:
    widths = [max(cell_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            " " * (width - cell_width(cell)) + cell if index in RIGHT else fit(cell, width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


# -- status ------------------------------------------------------------------------------------------------------


def status(args: argparse.Namespace) -> int:
    """One run's snapshot, once or after every change."""
    words = _words(args.lang, args.json)
    follower, workspace = _read([_place(args.run)], args.log, args.poll)
    try:
        run = _find(args.run, follower, workspace, words)
        if args.follow:
            return _follow(follower, workspace, run, args.json, words)
        print(_json(run, words, 2) if args.json else _text(run, time.time(), words))
        return 0
    finally:
        follower.close()


def _place(name: str) -> Path:
    """Where to look for a run: at its path, or below the current directory for its name."""
    return Path(name) if Path(name).exists() else Path()


def _find(name: str, follower: Follower, workspace: Workspace, words: Words) -> Run:
    """The run meant by ``name``: a path, else a unique name below the current directory. Raises CommandError."""
    named = not Path(name).exists()
    if named:
        runs = workspace.find(name)
    else:
        _check_paths(follower, words)
        runs = [run for run in workspace.runs if run.path == Path(name).absolute()] or workspace.runs
    if len(runs) == 1:
        return runs[0]
    if runs:
        names = ", ".join(clean(run.name) for run in runs[:20]) + (", …" if len(runs) > 20 else "")
        raise CommandError(words.t("cli.error.several", name=clean(name), names=names))
    if named:
        raise CommandError(words.t("cli.error.no_run_named", name=clean(name), path=_shown(Path.cwd())))
    raise CommandError(words.t("cli.error.no_runs", path=_shown(name)))


def _json(run: Run, words: Words, indent: int | None) -> str:
    return _dump(_plain(run, time.time(), words), indent)


LISTEN_S = 0.25
"""How long ``--follow`` listens before it looks whether it was asked to leave."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def _follow(follower: Follower, workspace: Workspace, run: Run, as_json: bool, words: Words) -> int:
    gc.enable()
    left: list[int] = []
    # As an exception it could strike inside the watching library, whose locks would then never be released.
    before = signal.signal(signal.SIGINT, lambda number, _frame: left.append(number))
    follower.start_watching()
    told = ""
    while not left:
        line = _change(run, time.time(), words)
        if line != told:
            told = line
            print(_json(run, words, None) if as_json else f"{words.clock(time.time())}  {line}", flush=True)
        # Without news the state may still change, by the clock alone.
        if follower.wait(LISTEN_S):
            workspace.apply(follower.read(0.2))
            # A directory that was removed and made anew is a new run.
            run = next((known for known in workspace.runs if known.path == run.path), run)
    signal.signal(signal.SIGINT, before)
    return INTERRUPTED


def _change(run: Run, now: float, words: Words) -> str:
    """What makes a new line when it differs."""
    progress = run.progress(now)
    parts = [words.state(run.status(now))]
    if progress.step is not None:
        parts.append(f"{progress.step}/{progress.total_steps}" if progress.total_steps else str(progress.step))
    for name, shown in (("loss", fixed4), ("eval_loss", fixed4), ("lr", number)):
        series = run.series.get(name)
        if series is not None and series.last is not None:
            parts.append(f"{words.metric(name)} {shown(series.last)}")
    predicted = run.results().get("predict")
    if predicted is not None and not predicted.stale:
        for name in ("predict_bleu-4", "predict_rouge-l"):
            if name in predicted.values:
                parts.append(f"{words.metric(name)} {fixed4(predicted.values[name])}")
    return "  ".join(parts)


def _what(run: Run) -> str:
    parts = ((run.stage or "").upper(), run.method, clean(run.model or "", 60))
    return " · ".join(part for part in parts if part)


def _text(run: Run, now: float, words: Words) -> str:
    """The short text of one run."""
    judgement = judge(run, now)
    lines = [f"{clean(run.name)}  {_what(run)}".rstrip(), *_head(run, now, words), ""]
    rated = judgement.ratings
    for name in ("loss", "eval_loss", "perplexity", "lr", "grad_norm", "reward", "accuracy"):
        series = run.series.get(name)
        if series is not None and series.last is not None:
            verdict = words.rating(rated[name]) if name in rated else ""
            lines.append(_value(words.metric(name), series.last, verdict))
    for split, result in run.results().items():
        lines += ["", f"  {result.file}" + (f"  ({words.t('cli.status.stale')})" if result.stale else "")]
        for key, value in sorted(result.values.items()):
            if key.startswith(f"{split}_"):
                verdict = words.rating(rated[key]) if key in rated and not result.stale else ""
                lines.append(_value(words.metric(key), value, verdict))
    if judgement.findings:
        lines.append("")
    for finding in judgement.findings:
        sentence, advice = words.finding(finding)
        lines.append(f"  {words.t('severity.' + finding.severity)}: {sentence} {advice}".rstrip())
    if run.problems:
        lines += ["", "  " + words.n("cli.status.problems", len(run.problems))]
    for note in run.problems:
        where = f":{note.line}" if note.line else ""
        lines.append(f"    {clean(note.file)}{where}: {clean(note.reason)}")
    return "\n".join(lines)


def _value(label: str, value: float, verdict: str) -> str:
    small = math.isfinite(value) and value != 0 and abs(value) < 0.001
    shown = number(value) if small or abs(value) >= 1e5 else fixed4(value)
    return f"  {fit(label, 24)}{shown:>12}  {verdict}".rstrip()


def _head(run: Run, now: float, words: Words) -> list[str]:
    status, progress = run.status(now), run.progress(now)
    first = [words.state(status)]
    if progress.step is not None and progress.total_steps:
        first.append(words.t("cli.status.step", step=progress.step, total=progress.total_steps))
        first.append(f"{math.floor(100 * (progress.fraction or 0))}%")
    if progress.epoch is not None:
        first.append(words.t("head.epoch", epoch=f"{progress.epoch:.2f}"))
    second = []
    if progress.elapsed_s is not None:
        second.append(words.t("head.elapsed", time=words.duration(progress.elapsed_s)))
    if progress.remaining_s is not None:
        second.append(words.t("head.left", time=words.duration(progress.remaining_s)))
    if progress.finish_at is not None:
        second.append(words.t("head.ends", time=words.clock(progress.finish_at, now)))
    if progress.steps_at_risk:
        second.append(words.n("head.at_risk", progress.steps_at_risk))
    if run.activity is not None:
        second.append(words.t("cli.status.updated", age=words.age(max(0.0, now - run.activity))))
    lines = ["  " + "   ".join(first), "  " + "   ".join(second)]
    if status.failure is not None:
        lines.append(f"  {clean(status.failure.message)}")
    return [line for line in lines if line.strip()]
