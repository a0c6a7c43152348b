"""Build the report of a run: its snapshot with explanations, in the language of the reader."""

from __future__ import annotations

from collections.abc import Sequence

from lora_tui.analysis import PLAIN, Context, Finding, Judgement, Rating, judge, run_facts
from lora_tui.i18n import Words
from lora_tui.report.content.chart_data import charts, step_table
from lora_tui.report.content.config_section import dataset_size
from lora_tui.report.content.metric_entries import results_sections, training_entries, training_summary
from lora_tui.report.content.section_builder import date_and_time, option_text
from lora_tui.report.content.sections import sections
from lora_tui.report.document import FindingEntry, LogSample, Option, Remark, Report
from lora_tui.report.status_json import iso_time, json_number, snapshot
from lora_tui.runs.job_config import job_kind
from lora_tui.runs.run import Run, Status
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import (
    SEVERITY_SYMBOLS,
    badge,
    capitalize,
    finding_texts,
    format_metric,
    format_with_unit,
    join_sentences,
    method_name,
    model_name,
)

MAJOR = (
    "model_name_or_path", "adapter_name_or_path", "stage", "finetuning_type", "quantization_bit", "quantization_method",
    "template", "dataset", "eval_dataset", "val_size", "max_samples", "cutoff_len", "packing", "neat_packing",
    "lora_rank", "lora_alpha", "lora_dropout", "lora_target", "use_rslora", "additional_target", "learning_rate",
    "lr_scheduler_type", "warmup_ratio", "warmup_steps", "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "num_devices", "total_train_batch_size", "optim",
    "weight_decay", "max_grad_norm", "bf16", "fp16", "compute_dtype", "flash_attn", "deepspeed", "pref_loss",
    "pref_beta", "pref_ftx", "reward_model", "logging_steps", "eval_strategy", "eval_steps", "save_steps",
    "save_total_limit", "load_best_model_at_end", "metric_for_best_model", "early_stopping_steps", "max_new_tokens",
    "temperature", "top_p", "predict_with_generate", "seed", "trainable_params", "all_params", "trainable_percent",
    "num_examples", "eval_examples",
)  # fmt: skip
"""The options that matter most, in reading order. One that is switched off is listed among the others instead."""
_HIDDEN = frozenset({"stage_hint"})


def build(run: Run, now: float, words: Words, context: Context = PLAIN, judgement: Judgement | None = None) -> Report:
    """Return the report of ``run`` at the Unix time ``now``, in the language of ``words``.

    Reads no file and no clock. Without a ``judgement`` the run is judged with ``context``.
    """
    if judgement is None:
        judgement = judge(run, now, context)
    status = run.status(now)
    metrics = training_entries(run, judgement, words)
    results = results_sections(run, judgement, words)
    known = snapshot(run, now, words, judgement)
    return Report(
        **{name: getattr(known, name) for name in type(known).model_fields},
        language=words.lang,
        generated_at=iso_time(now) or "",
        generated_text=date_and_time(words, now),
        in_progress=status.live,
        progress_text=words.t("report.in_progress", time=date_and_time(words, now)) if status.live else None,
        title=_title(run, status, words),
        heading=_heading(run, words),
        state_text=words.state(status),
        about=_about(run, words),
        sections=sections(run, now, words, judgement),
        samples=_samples(run),
        metrics_explained=metrics,
        metrics_summary=training_summary(words, metrics),
        results_explained=results,
        assessment=_assessment(run, now, judgement, words),
        conclusion=_conclusion(run, status, judgement, words),
        findings_explained=[_finding(finding, words) for finding in judgement.findings],
        step_table=step_table(run, words),
        charts=charts(run, words, live=status.live),
        options=_options(run),
    )


def _kind(run: Run) -> str:
    """Return the purpose of the job: train, eval or predict."""
    if run.timeline.rows or (not run.eval_job.rows and not run.results()):
        return "train"
    results = run.results()
    if "train" in results:
        return "train"
    return "predict" if "predict" in results or job_kind(run.config) == "predicting" else "eval"


def _title(run: Run, status: Status, words: Words) -> str:
    what = " ".join(part for part in (model_name(run), method_name(run)) if part) or clean(run.name)
    key = f"report.title.{_kind(run)}" + ("_live" if status.live else "")
    return words.t(key, what=what)


def _heading(run: Run, words: Words) -> str:
    return words.t(f"report.heading.{_kind(run)}", what=method_name(run), name=clean(run.name)).strip()


def _about(run: Run, words: Words) -> str:
    """Name what was read: the files with rows and the results files, or any file where there are none of these."""
    parts = [
        words.n("report.file_rows", len(table.rows), file=clean(table.file))
        for table in run.files.tables.values()
        if table.rows
    ]
    parts += [clean(doc.file) for _, doc in run.files.results.values()]
    parts = parts or [clean(name) for name in run.files.docs]
    if not parts:
        return words.t("report.about_nothing")
    rest = len(parts) - 6
    if rest > 1:
        parts = [*parts[:6], words.n("report.more_files", rest)]
    return words.t("report.about", files=words.t("list.separator").join(parts))


def _samples(run: Run) -> list[LogSample]:
    found = [row for row in run.rows[-12:] if row.kind == "train"][-2:]
    return [
        LogSample(
            step=row.step,
            epoch=row.epoch,
            values={clean(name): json_number(value) for name, value in row.values.items()},
        )
        for row in found
    ]


def _options(run: Run) -> list[Option]:
    major: list[Option] = []
    rest: list[Option] = []
    order = {name: at for at, name in enumerate(MAJOR)}
    for name, setting in run.config.items():
        if name in _HIDDEN or setting.value is None:
            continue
        first = name in order and setting.value not in (False, "none", "") and not _unset(name, setting.value)
        option = Option(name=clean(name), value=option_text(setting.value), source=clean(setting.source), major=first)
        (major if first else rest).append(option)
    return sorted(major, key=lambda option: order[option.name]) + rest


def _unset(name: str, value: object) -> bool:
    """Return whether a value is transformers' default for "not set": no limit of steps, no warm-up in steps."""
    unbound = name == "max_steps" and isinstance(value, (int, float)) and value <= 0
    return unbound or (name == "warmup_steps" and isinstance(value, (int, float)) and value < 1)


# -- assessment -------------------------------------------------------------------------------------------------------


def _finding(finding: Finding, words: Words) -> FindingEntry:
    text, advice = finding_texts(words, finding)
    return FindingEntry(
        code=finding.code, severity=finding.severity, severity_text=words.t(f"severity.{finding.severity}"),
        mark=SEVERITY_SYMBOLS[finding.severity], name=capitalize(words, words.finding_name(finding)), text=text,
        advice=advice or None, step=finding.step, end_step=finding.end_step, over=finding.over,
    )  # fmt: skip


def _assessment(run: Run, now: float, judgement: Judgement, words: Words) -> list[Remark]:
    out: list[Remark] = []
    for finding in judgement.findings:
        if finding.severity in ("critical", "warning") and not finding.over and len(out) < 4:
            text, advice = finding_texts(words, finding)
            out.append(
                Remark(
                    code=finding.code, kind="finding", level=finding.severity, mark=SEVERITY_SYMBOLS[finding.severity],
                    head=capitalize(words, words.finding_name(finding)), text=text, advice=advice or None,
                )
            )  # fmt: skip
    ratings, doubts = judgement.ratings, set[str]()
    for name in _ASSESSED:
        rating = ratings.get(name)
        if rating is not None and (rating.level is not None or name == "trainable_percent"):
            if name in ("loss", "accuracy") and any(other in ratings for other in _PREFERRED_TO[name]):
                continue
            doubted = [code for code in rating.reservations if code not in doubts]
            doubts.update(doubted)
            out.append(_rated(run, now, rating, words, doubted))
    if not out:
        out.append(Remark(code="none", kind="none", mark="–", head=words.t("report.no_rating"),
                          text=words.t("report.no_rating_why")))  # fmt: skip
    return out[:8]


_ASSESSED = (
    "predict_bleu-4", "predict_rouge-l", "perplexity", "gap", "eval_rewards/accuracies", "rewards/accuracies",
    "accuracy", "eval_accuracy", "rewards/margins", "reward", "loss", "trainable_percent",
)  # fmt: skip
_PREFERRED_TO = {"loss": ("perplexity", "reward"), "accuracy": ("rewards/accuracies", "eval_rewards/accuracies")}
"""Metric -> metrics that measure the same better; the metric is left out of the assessment if one of them is rated."""


def _rated(run: Run, now: float, rating: Rating, words: Words, doubts: Sequence[str]) -> Remark:
    """Return a rating as a remark. ``doubts`` are those of its reservations that no earlier remark has named."""
    name = rating.metric
    verdict = words.rating(rating)
    if name == "gap":
        head = verdict
        gap = format_with_unit(words, "gap", rating.value)
        text = words.t(f"report.gap.{rating.level}", gap=gap if rating.level == "good" else gap.lstrip("+"))
        if rating.params.get("note") == "single_epoch":
            text += words.t(f"report.gap.{'part' if (run.epoch or 1.0) < 0.99 else 'single'}_epoch")
    elif name == "trainable_percent":
        head = method_name(run) or words.metric(name)
        text = words.t("report.trainable", share=rating.value, verdict=verdict)
        if rating.words == "trainable_many" and _enough_parameters(run, now):
            text += words.t("report.trainable_enough")
    else:
        label = "PPL" if name == "perplexity" else words.metric(name)
        head, text = f"{label} {format_metric(words, name, rating.value)}", verdict
    if doubts:
        sentence = words.t("report.sentence", text=text)
        text = join_sentences(words, sentence, *(words.reservation(code) for code in doubts))
    return Remark(
        code=name, kind="rating", level=rating.level, mark=badge(rating), head=capitalize(words, head), text=text
    )


def _enough_parameters(run: Run, now: float) -> bool:
    """Return whether the adapter has enough parameters for the data.

    Rule: training data holds about one bit a token and an adapter about two bits a parameter (Thinking Machines, "LoRA
    Without Regret"), which makes 100 parameters for a sample of some 200 tokens.
    """
    params = run_facts.number(run, "trainable_params")
    size = run_facts.number(run, "num_examples") or dataset_size(run, run.progress(now))
    return params is not None and size is not None and params >= 100 * size


def _conclusion(run: Run, status: Status, judgement: Judgement, words: Words) -> str:
    """Return one sentence that names the worst findings, or says that there are none."""
    active = [finding for finding in judgement.findings if not finding.over]
    for severity in ("critical", "warning"):
        names = list(dict.fromkeys(words.finding_name(one) for one in active if one.severity == severity))
        if names:
            return words.t(f"report.conclusion.{severity}", names=words.t("list.separator").join(names))
    if not judgement.ratings and run_facts.main_metric(run) not in run.series:
        return words.t("report.conclusion.nothing_live" if status.live else "report.conclusion.nothing")
    return words.t("report.conclusion.fine_live" if status.live else "report.conclusion.fine")
