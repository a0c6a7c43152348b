"""``train_results.json``, ``eval_results.json``, ``predict_results.json`` and ``all_results.json``.

Source: transformers ``Trainer.save_metrics`` (4-space indent, sorted keys, ``NaN`` literals possible, not written
atomically). Runtimes are seconds, BLEU and ROUGE are 0 to 100, accuracies 0 to 1.
"""

from __future__ import annotations

from types import MappingProxyType

from lora_tui.formats.json_lines import MAX_COUNT, MAX_METRICS, as_number, as_text, load_json_object
from lora_tui.records.documents import FormatError, Results
from lora_tui.records.file_names import RESULTS


def parse_results(name: str, data: bytes) -> Results:
    """Parse one results file; ``name`` is the file's name without directories.

    Keeps every number under its own key (numeric strings become numbers, integers stay integers) and leaves out
    everything else. Raises :class:`TornError` if the file is empty or half-written, :class:`FormatError` if it is not
    a JSON object, ``name`` is none of the four, or there are more than 1000 numbers.
    """
    split = RESULTS.get(name)
    if split is None:
        raise FormatError(f"not the name of a results file: {as_text(name)!r}")
    values: dict[str, float] = {}
    for key, item in load_json_object(data).items():
        number = as_number(item)
        if number is None:
            continue
        values[as_text(key)] = item if isinstance(item, int) and abs(item) < MAX_COUNT else number
    if len(values) > MAX_METRICS:
        raise FormatError(f"more than {MAX_METRICS} values")
    return Results(split, MappingProxyType(values))
