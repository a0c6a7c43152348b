"""The facts about a job's settings: model, adapter, batch, learning rate, data."""

from __future__ import annotations

from lora_tui.analysis import run_facts as facts
from lora_tui.report.content.section_builder import Teller
from lora_tui.runs.run import Progress, Run
from lora_tui.text.numbers import count as counted
from lora_tui.wording.values import method_name, model_name, percent, shown


def config(t: Teller) -> None:
    """The settings that matter first, as far as the files tell them."""
    run, words = t.run, t.words
    model, method = model_name(run), method_name(run)
    if model or method:
        t.add("model", " + ".join(part for part in (model, method) if part),
              source=t.source("model_name_or_path", "finetuning_type", "quantization_bit"))  # fmt: skip
    if run.stage is not None:
        t.add("stage", words.t(f"report.stage.{run.stage}"), source=t.source("stage"))
    rank = t.setting("lora_rank")
    if rank is not None:
        parts = [rank]
        parts += [
            f"{name}: {value}" for name in ("alpha", "dropout") if (value := t.setting(f"lora_{name}")) is not None
        ]
        t.add("lora_rank", " | ".join(parts), source=t.source("lora_rank", "lora_alpha"))
    share, params = facts.number(run, "trainable_percent"), facts.number(run, "trainable_params")
    if share is not None:
        whole = facts.number(run, "all_params")
        of = f"{counted(params)} / {counted(whole)}" if params is not None and whole is not None else None
        value = percent(words, share / 100, 2)
        t.add("trainable", value, note=of, source=t.source("trainable_percent"))
    _batch(t)
    rate = facts.number(run, "learning_rate")
    if rate is not None:
        said = words.t("list.separator").join(part for part in (_schedule(t), _warmup(t)) if part)
        text = shown(words, "lr", rate)
        text = words.t("report.with_note", text=text, note=said) if said else text
        source = t.source("learning_rate", "lr_scheduler_type", "warmup_ratio", "warmup_steps")
        t.add("learning_rate", text, label=words.metric("lr"), source=source)
    _data(t)


def _schedule(t: Teller) -> str | None:
    name = t.setting("lr_scheduler_type")
    key = f"report.schedule.{name}"
    return t.words.t(key) if t.words.has(key) else name


def _warmup(t: Teller) -> str | None:
    ratio, steps = facts.number(t.run, "warmup_ratio"), facts.number(t.run, "warmup_steps")
    if ratio:
        return t.words.t("report.note.warmup", share=percent(t.words, ratio))
    return t.words.t("report.note.warmup_steps", n=int(steps)) if steps and steps >= 1 else None


def total_batch(run: Run) -> tuple[int, bool] | None:
    """Samples of one optimizer step over all devices, and whether that was worked out."""
    said = facts.number(run, "total_train_batch_size")
    if said is not None and said >= 1:
        return int(said), False
    each = facts.number(run, "per_device_train_batch_size")
    devices = facts.number(run, "num_devices")
    if each is None or devices is None:
        return None
    return int(each * (facts.number(run, "gradient_accumulation_steps") or 1) * devices), True


def _batch(t: Teller) -> None:
    run, words = t.run, t.words
    each = facts.number(run, "per_device_train_batch_size")
    if each is None:
        return
    steps, devices = facts.number(run, "gradient_accumulation_steps") or 1, facts.number(run, "num_devices")
    total = total_batch(run)
    source = t.source("per_device_train_batch_size", "gradient_accumulation_steps", "num_devices",
                      "total_train_batch_size")  # fmt: skip
    product = int(each * steps)
    if total is None:
        t.add("batch", f"{each:g} × {steps:g} = {product}", note=words.t("report.note.per_device"), source=source)
        return
    if devices is None and total[0] % product == 0:
        devices = total[0] // product
    if devices is None or devices == 1:
        note = words.t("report.note.one_device") if devices == 1 else None
        t.add("batch", f"{each:g} × {steps:g} = {total[0]}", note=note, source=source)
    else:
        note = words.t("report.note.devices", n=int(devices))
        t.add("batch", f"{each:g} × {steps:g} × {devices:g} = {total[0]}", note=note, source=source)


def _data(t: Teller) -> None:
    """Names and sizes of the data; a size that no file tells is worked out from the steps."""
    run, words = t.run, t.words
    parts, notes, derived = [], [], False
    train = facts.number(run, "num_examples")
    if train is not None:
        parts.append(words.t("report.data.train", n=counted(train)))
    elif (size := dataset_size(run, t.progress)) is not None:
        derived = True
        parts.append(words.t("report.data.train", n=f"≈{counted(size)}"))
        notes.append(words.t("report.note.data"))
    evaluated = facts.number(run, "eval_examples")
    results = run.results().get("eval")
    if results is not None and not results.stale:
        count = facts.samples(results, "eval", run)
        if count is not None:
            known = evaluated is not None and abs(evaluated - count) <= 1
            derived = derived or not known
            parts.append(
                words.t("report.data.eval", n=counted(evaluated) if known and evaluated else f"≈{counted(count)}")
            )
            if not known:
                notes.append(words.t("report.note.samples"))
    if parts:
        t.add("data", " + ".join(parts), derived=derived, note=words.t("list.separator").join(notes) or None,
              source=t.source("num_examples", "eval_examples") if not derived else None)  # fmt: skip
    for option in ("dataset", "eval_dataset"):
        text = t.setting(option)
        if text is not None:
            t.add(option, text, source=t.source(option))


def dataset_size(run: Run, progress: Progress) -> float | None:
    """Samples of the training data: steps x batch / epochs, where the epochs are known well enough."""
    total = total_batch(run)
    if total is None or progress.unit != "steps" or not progress.step or not progress.epoch or run.segments > 1:
        return None
    return progress.step * total[0] / progress.epoch
