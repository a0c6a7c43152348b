"""Keys, tokens and passwords that stand in a job's files are in nothing that is shown, printed, saved or passed on."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from lora_tui.cli.main import main
from lora_tui.formats.secrets import mask_text
from tests.support.app_pilot import make_app, settled, text
from tests.support.program import lora_tui
from tools.fuzz.tfrecord import framed_record

TOKEN = "hf_" + "aB3dE5gH7jK9mN1pQ3rS"
KEY = "sk-" + "Zz9Yy8Xx7Ww6Vv5Uu4Tt3"
WORD = "correct-horse-battery-staple"
LEAKS = (TOKEN, KEY, WORD, "verysecret99", "AKIAABCDEFGHIJKLMNOP", "ghp_abcdefghijklmnopqrstuvwxyz12")
WHEN = 1_750_000_000


def secretive_run(directory: Path) -> Path:
    """A failed job whose every file that holds settings or text holds a secret."""
    directory.mkdir(parents=True)
    rows = [
        {"current_steps": step, "total_steps": 40, "loss": 2.0 - step / 40, "lr": 1e-4, "epoch": step / 40,
         "elapsed_time": f"0:00:{step // 2:02}", "remaining_time": "0:00:10"}
        for step in range(2, 42, 2)
    ]  # fmt: skip
    options = {
        "stage": "sft", "hub_token": "verysecret99", "HF_TOKEN": TOKEN, "swanlab_api_key": WORD, "wandb-api-key": WORD,
        "hf_hub_token": WORD, "ms_hub_token": WORD, "db_password": WORD, "client_secret": WORD, "run_name": TOKEN,
        "dataset": f"https://user:{WORD}@example.org/d.json", "report_to": [f"wandb --api_key {WORD}", KEY],
        "output_dir": f"s3://AKIAABCDEFGHIJKLMNOP:{WORD}@bucket/x", "template": "ghp_abcdefghijklmnopqrstuvwxyz12",
        "model_name_or_path": f"https://example.org/m?token={WORD}", "nested": {"token": WORD}, "tokenizer_name": "x",
    }  # fmt: skip
    board = {
        "top.lang": "en", "train.training_stage": "Supervised Fine-Tuning", "train.swanlab_api_key": WORD,
        "train.use_swanlab": True, "train.extra_args": json.dumps({"hub_token": WORD, "optim": "adamw_torch"}),
    }  # fmt: skip
    adapter = {"peft_type": "LORA", "r": 8, "base_model_name_or_path": f"https://u:{WORD}@h/m", "auth_token": WORD}
    card = f"---\nbase_model: https://u:{WORD}@h/m\ntags:\n- llama-factory\nhf_token: {WORD}\n---\n"
    log = (
        f"[INFO|x.py:1] 2025-12-30 19:57:56,487 >> loading configuration file https://u:{WORD}@h/m/config.json\n"
        f"export HF_TOKEN={TOKEN}\nwandb: api_key: {WORD}\nlogin with https://u:{WORD}@h/?access_token={WORD}\n"
        'Traceback (most recent call last):\n  File "/x/bin/train.py", line 3, in <module>\n'
        f'    login(token="{WORD}")\nValueError: 401 for {TOKEN}, Authorization: Bearer {WORD}, {KEY}\n'
    )
    text_summary = json.dumps(options).encode()
    tensor = b"\x08\x07\x42" + varint(len(text_summary)) + text_summary
    value = b"\x0a\x11args/text_summary\x42" + varint(len(tensor)) + tensor
    summary = b"\x0a" + varint(len(value)) + value
    event = b"\x09" + struct.pack("<d", WHEN) + b"\x2a" + varint(len(summary)) + summary
    files: dict[str, bytes | str] = {
        "trainer_log.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "training_args.yaml": json.dumps(options),
        "llamaboard_config.yaml": json.dumps(board),
        "adapter_config.json": json.dumps(adapter),
        "README.md": card,
        "train.log": log,
        "eval_results.json": json.dumps({"eval_loss": 1.5, "hub_token": WORD}),
        "runs/events.out.tfevents.1750000000.host.1.0": framed_record(event),
    }
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, (WHEN, WHEN + (5 if name == "train.log" else 0)))
    return directory


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def check(said: str) -> None:
    found = [secret for secret in LEAKS if secret in said]
    assert not found, found


COMMANDS = [
    ["ls"], ["ls", "--json"], ["status", "a"], ["status", "a", "--json"], ["status", "a", "--lang", "zh"],
    *(["report", "a", "--format", form] for form in ("box", "md", "html", "json")),
    *(["compare", "a", "b", "--format", form] for form in ("text", "html", "json")),
    *(["export", "a", "--format", form] for form in ("csv", "jsonl")),
    ["explain", "eval_loss", "--run", "a"], ["config"], ["wait", "a"], ["status", "nothing"],
    ["wait", "a", "--until", "x <"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_output_of_a_command_holds_one(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secretive_run(tmp_path / "a")
    secretive_run(tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    code = main(command)
    out, err = capsys.readouterr()
    assert out or err
    assert code == (3 if command == ["wait", "a"] else 2 if "x <" in command else 1 if "nothing" in command else 0)
    check(out + err)


def test_a_saved_report_holds_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secretive_run(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    for name in ("x.md", "x.html", "x.json", "x.txt"):
        assert main(["report", "a", "-o", name]) == 0
        said = (tmp_path / name).read_text()
        check(said)
        if name != "x.txt":
            assert "***" in said, "the option is there, its value is not"


async def test_no_page_of_the_app_holds_one(tmp_path: Path) -> None:
    secretive_run(tmp_path / "a")
    app = make_app(tmp_path, run="a")
    async with app.run_test(size=(200, 60)) as pilot:
        pages = []
        for key in ("1", "2", "3", "4", "5", "6", "7", "8", "9", "r"):
            await pilot.press(key)
            await settled(pilot)
            pages.append(text(app))
        check("\n".join(pages))
        assert any("***" in page for page in pages), "the page of the settings"
        assert any("hub_token" in page for page in pages)


def test_no_event_that_is_passed_on_holds_one(tmp_path: Path) -> None:
    secretive_run(tmp_path / "a")
    told = tmp_path / "told"
    done = lora_tui("wait", "a", "--until", "loss < 9", "--on-event", f"cat >> {told}; env >> {told}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = told.read_text()
    assert '"run"' in said
    check(said + done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"export HF_TOKEN={TOKEN}", "export HF_TOKEN=***"),
        ('{"api_key": "abcdefgh1"}', '{"api_key": "***"}'),
        ("git clone https://me:pa@ss@host/x", "git clone https://***@host/x"),
        ("GET /x?access_token=abcdefgh&b=1", "GET /x?access_token=***&b=1"),
        ("run --hub_token abcdefgh1 --lr 1", "run --hub_token *** --lr 1"),
        ("Authorization: Bearer abcdefgh1", "Authorization: Bearer ***"),
        ("password = 'correct-horse'", "password = '***'"),
        ("key AKIAABCDEFGHIJKLMNOP used", "key *** used"),
    ],
)
def test_what_is_hidden_in_a_line(said: str, told: str) -> None:
    assert mask_text(said) == told
    assert mask_text(told) == told


@pytest.mark.parametrize(
    "line",
    [
        "Add pad token: <|im_end|>", "New tokens added: 5", "max_new_tokens=512", "tokenizer_name = gpt2-large",
        "the token was not found in the vocabulary", "loading file tokenizer.json from https://example.org/a@b/c",
        "{'loss': 1.5, 'epoch': 0.5}", "task-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "secret: yes", "pad_token_id=151643000",
        "a password must be given", "saves/sk-model/hf_checkpoints",
    ],
)  # fmt: skip
def test_what_is_none_stays(line: str) -> None:
    assert mask_text(line) == line
