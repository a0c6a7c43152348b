"""Which texts are masked as secrets, and that no part of a secret stays where a text is cut."""

from __future__ import annotations

import pytest

from lora_tui.formats.console.failure import MAX_MESSAGE
from lora_tui.formats.console.parser import ConsoleParser
from lora_tui.formats.console.text import MAX_TEXT
from lora_tui.formats.secrets import MASK, mask_and_cut, mask_secrets, mask_text

SECRETS = (
    "hf_" + "aB3dE5gH7j" * 3,
    "sk-" + "Zz9Yy8Xx7W" * 3,
    "ghp_" + "aB3dE5gH7j" * 3,
    "github_pat_" + "aB3dE5gH7j_" * 3,
    "glpat-" + "aB3-E5_H7j" * 2,
    "xoxb-" + "123456789012-" * 2 + "aB3dE5gH7j",
    "xoxp-" + "123456789012-" * 2 + "aB3dE5gH7j",
    "npm_" + "aB3dE5gH7j" * 3 + "aB3dE5",
    "AIza" + "Sy-B_dE5gH" * 3 + "jKl9m",
    "AKIA" + "ABCDEFGHIJKLMNOP",
)  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
def test_keys_of_known_services_are_masked(secret: str) -> None:
    assert mask_text(f"401 for {secret}, again") == f"401 for {MASK}, again"
    assert mask_text(secret) == MASK
    assert mask_secrets({"run_name": secret}) == {"run_name": MASK}


@pytest.mark.parametrize(
    "text",
    ["npm_config_cache is set", "a glpat- prefix", "AIzawa", "xoxo-xoxo", "my_npm_" + "a" * 30, "github_pat_x"],
)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert mask_text(text) == text


@pytest.mark.parametrize("secret", SECRETS)
def test_no_part_of_a_secret_stays_before_a_cut(secret: str) -> None:
    for before in range(60):
        shown = mask_and_cut("x" * before + " " + secret + " more", 40)
        assert len(shown) <= 40
        assert shown.startswith(("x" * before + " " + MASK)[:40])
        assert secret[:6] not in shown


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("limit", [MAX_MESSAGE, 500, MAX_TEXT])
def test_no_part_of_a_secret_stays_where_a_line_of_a_log_is_cut(secret: str, limit: int) -> None:
    for back in (1, 8, 12, len(secret) - 1):
        error = "ValueError: "
        error += "x" * (limit - back - len(error) - 1) + " " + secret + " end"
        log = (
            'Traceback (most recent call last):\n  File "/x/bin/train.py", line 3, in <module>\n'
            f"    login()\n{error}\n{'y' * (limit - back - 1)} {secret} last\n"
        )
        parser = ConsoleParser()
        parser.feed(log.encode())
        assert secret[:7] not in repr(parser.snapshot()), (back, limit)


def test_a_failure_late_in_a_long_line_holds_no_part_of_a_secret() -> None:
    secret = SECRETS[0]
    for back in (3, 8, 12):
        end = f"Watchdog caught collective operation timeout {secret} x"
        line = "x" * (MAX_TEXT - end.index(secret) - back) + end
        parser = ConsoleParser()
        parser.feed(line.encode() + b"\n")
        assert parser.snapshot().failure is not None
        assert secret[:6] not in repr(parser.snapshot())
