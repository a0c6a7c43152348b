"""The configuration section of a report: model, adapter, batch size, learning rate, data."""

from __future__ import annotations

from lora_tui.analysis import run_facts
from lora_tui.report.content.section_builder import SectionBuilder
from lora_tui.runs.run import Progress, Run
from lora_tui.text.numbers import count as format_count
from lora_tui.wording.values import format_metric, format_share, method_name, model_name


def add_config(builder: SectionBuilder) -> None:
    """Add the most important settings of the job that its files contain."""
    run, words = builder.run, builder.words
    model, method = model_name(run), method_name(run)
    if model or method:
        builder.add(
            "model",
            " + ".join(part for part in (model, method) if part),
            source=builder.source("model_name_or_path", "finetuning_type", "quantization_bit"),
        )
    if run.stage is not None:
        builder.add("stage", words.t(f"report.stage.{run.stage}"), source=builder.source("stage"))
    rank = builder.option("lora_rank")
    if rank is not None:
        parts = [rank]
        parts += [
            f"{name}: {value}" for name in ("alpha", "dropout") if (value := builder.option(f"lora_{name}")) is not None
        ]
        builder.add("lora_rank", " | ".join(parts), source=builder.source("lora_rank", "lora_alpha"))
    share, params = run_facts.number(run, "trainable_percent"), run_facts.number(run, "trainable_params")
    if share is not None:
        whole = run_facts.number(run, "all_params")
        of = f"{format_count(params)} / {format_count(whole)}" if params is not None and whole is not None else None
        value = format_share(words, share / 100, 2)
        builder.add("trainable", value, note=of, source=builder.source("trainable_percent"))
    _add_batch(builder)
    rate = run_facts.number(run, "learning_rate")
    if rate is not None:
        details = words.t("list.separator").join(part for part in (_schedule(builder), _warmup(builder)) if part)
        text = format_metric(words, "lr", rate)
        text = words.t("report.with_note", text=text, note=details) if details else text
        source = builder.source("learning_rate", "lr_scheduler_type", "warmup_ratio", "warmup_steps")
        builder.add("learning_rate", text, label=words.metric("lr"), source=source)
    _add_data(builder)


def _schedule(builder: SectionBuilder) -> str | None:
    name = builder.option("lr_scheduler_type")
    key = f"report.schedule.{name}"
    return builder.words.t(key) if builder.words.has(key) else name


def _warmup(builder: SectionBuilder) -> str | None:
    ratio, steps = run_facts.number(builder.run, "warmup_ratio"), run_facts.number(builder.run, "warmup_steps")
    if ratio:
        return builder.words.t("report.note.warmup", share=format_share(builder.words, ratio))
    return builder.words.t("report.note.warmup_steps", n=int(steps)) if steps and steps >= 1 else None


def total_batch(run: Run) -> tuple[int, bool] | None:
    """Return the samples of one optimizer step over all devices, and True if the number was computed instead of read.

    Return ``None`` if it is not known.
    """
    logged = run_facts.number(run, "total_train_batch_size")
    if logged is not None and logged >= 1:
        return int(logged), False
    each = run_facts.number(run, "per_device_train_batch_size")
    devices = run_facts.number(run, "num_devices")
    if each is None or devices is None:
        return None
    return int(each * (run_facts.number(run, "gradient_accumulation_steps") or 1) * devices), True


def _add_batch(builder: SectionBuilder) -> None:
    run, words = builder.run, builder.words
    each = run_facts.number(run, "per_device_train_batch_size")
    if each is None:
        return
    steps, devices = run_facts.number(run, "gradient_accumulation_steps") or 1, run_facts.number(run, "num_devices")
    total = total_batch(run)
    source = builder.source(
        "per_device_train_batch_size", "gradient_accumulation_steps", "num_devices", "total_train_batch_size"
    )
    product = int(each * steps)
    if total is None:
        builder.add("batch", f"{each:g} × {steps:g} = {product}", note=words.t("report.note.per_device"), source=source)
        return
    if devices is None and total[0] % product == 0:
        devices = total[0] // product
    if devices is None or devices == 1:
        note = words.t("report.note.one_device") if devices == 1 else None
        builder.add("batch", f"{each:g} × {steps:g} = {total[0]}", note=note, source=source)
    else:
        note = words.t("report.note.devices", n=int(devices))
        builder.add("batch", f"{each:g} × {steps:g} × {devices:g} = {total[0]}", note=note, source=source)


def _add_data(builder: SectionBuilder) -> None:
    """Add names and sizes of the data sets; a size that is in no file is computed from the steps."""
    run, words = builder.run, builder.words
    parts, notes, derived = [], [], False
    train = run_facts.number(run, "num_examples")
    if train is not None:
        parts.append(words.t("report.data.train", n=format_count(train)))
    elif (size := dataset_size(run, builder.progress)) is not None:
        derived = True
        parts.append(words.t("report.data.train", n=f"≈{format_count(size)}"))
        notes.append(words.t("report.note.data"))
    evaluated = run_facts.number(run, "eval_examples")
    results = run.results().get("eval")
    if results is not None and not results.stale:
        count = run_facts.samples(results, "eval", run)
        if count is not None:
            known = evaluated is not None and abs(evaluated - count) <= 1
            derived = derived or not known
            parts.append(
                words.t(
                    "report.data.eval", n=format_count(evaluated) if known and evaluated else f"≈{format_count(count)}"
                )
            )
            if not known:
                notes.append(words.t("report.note.samples"))
    if parts:
        builder.add(
            "data",
            " + ".join(parts),
            derived=derived,
            note=words.t("list.separator").join(notes) or None,
            source=builder.source("num_examples", "eval_examples") if not derived else None,
        )
    for option in ("dataset", "eval_dataset"):
        text = builder.option(option)
        if text is not None:
            builder.add(option, text, source=builder.source(option))


def dataset_size(run: Run, progress: Progress) -> float | None:
    """Return the number of samples of the training data, computed as steps x batch size / epochs.

    Return ``None`` if one of these is not known, or after a resume, when they may not belong together.
    """
    total = total_batch(run)
    if total is None or progress.unit != "steps" or not progress.step or not progress.epoch or run.segments > 1:
        return None
    return progress.step * total[0] / progress.epoch
