"""Mask keys, tokens and passwords in the files of a job, before anything else reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lora_tui.records.documents import ConfigValue, Scalar

MASK = "***"
"""Text in place of a secret."""

# "token" but not tokens, tokenizer, tokenized_path or an id such as pad_token_id.
_WORD = r"(?:api[_-]?key|access[_-]?key|private[_-]?key|token(?!s|iz|_id)|secret|passwd|password|credential)"
_SECRET_KEY = re.compile(_WORD, re.IGNORECASE)
# Matched against a whole value. A digit or capital is required, or a path such as hf_checkpoints would match.
_SECRET_VALUE = re.compile(r"hf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{6,}|sk-[A-Za-z0-9_-]{8,}")
_SECRET_INSIDE = re.compile(
    r"(?<=://)[^/\s]{1,500}(?=@)"
    r"|(?<![A-Za-z0-9_-])(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[oprsu]_[A-Za-z0-9]{20,}"
    r"|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_.-]{20,}|xox[a-z]-[A-Za-z0-9-]{10,}|npm_[A-Za-z0-9]{20,}"
    r"|AKIA[0-9A-Z]{16}|AIza[A-Za-z0-9_-]{30,})"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"
)
# "HF_TOKEN=…", "api_key: …", "?token=…"; "--hub_token …". Short words and "<|im_end|>" are tokens of a vocabulary.
_NAMED = re.compile(
    rf"({_WORD}[\w-]{{0,40}}[\"']?\s{{0,4}}[=:]\s{{0,4}}[\"']?|--[\w-]{{0,40}}{_WORD}[\w-]{{0,40}} {{1,4}})"
    r"[A-Za-z0-9_.~+/=%-]{8,}",
    re.IGNORECASE,
)
# Matches every text in which something may be masked, in one quick search.
_HINT = re.compile(
    r"hf_|sk-|gh[oprsu]_|github_pat_|glpat-|xox[a-z]-|npm_|AKIA|AIza|://|[Bb]earer |" + _WORD, re.IGNORECASE
)


def mask_secrets(values: Mapping[str, ConfigValue]) -> dict[str, ConfigValue]:
    """Return a copy of ``values`` with "***" in place of secrets.

    Masks the values of keys that contain api_key, token (not tokens, tokenizer, …), secret, password or credential,
    values that look like a Hugging Face or OpenAI key, and what :func:`mask_text` masks inside a value. Empty strings,
    nulls and booleans stay.
    """
    return {key: _mask(key, value) for key, value in values.items()}


def mask_text(text: str) -> str:
    """Return text with "***" for keys of known services, passwords in URLs, and values named a token or password."""
    if _HINT.search(text) is None:
        return text
    return _NAMED.sub(rf"\g<1>{MASK}", _SECRET_INSIDE.sub(MASK, text))


def mask_and_cut(text: str, limit: int) -> str:
    """Return the first ``limit`` characters of the masked text, so that no part of a secret stays before the cut."""
    return mask_text(text)[:limit]


def _mask(key: str, value: ConfigValue) -> ConfigValue:
    if value is None or value == "" or isinstance(value, bool):
        return value
    if _SECRET_KEY.search(key.replace("-", "_")):
        return MASK
    if isinstance(value, tuple):
        return tuple(_mask_value(one) for one in value)
    return _mask_value(value)


def _mask_value(value: Scalar) -> Scalar:
    if not isinstance(value, str):
        return value
    return MASK if _SECRET_VALUE.fullmatch(value.strip()) else mask_text(value)
