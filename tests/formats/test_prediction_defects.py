"""Defects of generated texts: loops, echoes of the prompt, open ends."""

from __future__ import annotations

import random

import pytest

from lora_tui.formats.predictions import echoes_prompt, ending, is_repetitive, token_bucket
from tests.formats.test_bounded import peak
from tests.support.call_count import calls_of

LOOPS = [
    "I do not know. " * 60,
    "我不知道。" * 60,
    "哈" * 60,
    "!" * 60,
    "Answer: the cat sat on the mat and then it " + "went home and then it " * 20,
    "从前有一只兔子，" + "它跑得很快很快很快，" * 12 + "它跑",
    "\n".join(["- item one of the list that never ends at all"] * 30),
]
FINE = [
    "The cat sat on the mat. " * 4,
    "one two three four five six seven eight",
    "| a | b |\n|---|---|\n" + "\n".join(f"| {i} | {i * i} |" for i in range(60)),
    "def f(x):\n    return x + 1\n\n" + "\n".join(f"assert f({i}) == {i + 1}" for i in range(40)),
    "-" * 30 + "\n" + "a ruler above",
    "第一步，打开冰箱；第二步，放进大象；第三步，关上冰箱。" * 2,
    "\n".join(f"{i}. " + "".join(random.Random(i).choices("的一是不了人我在有他", k=30)) for i in range(40)),
    "",
]


@pytest.mark.parametrize("text", LOOPS)
def test_loops(text: str) -> None:
    assert is_repetitive(text)


@pytest.mark.parametrize("text", FINE)
def test_texts_that_are_fine(text: str) -> None:
    assert not is_repetitive(text)


def test_a_loop_at_the_end_of_a_long_text() -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(4000)]
    assert not is_repetitive(" ".join(words))
    assert is_repetitive(" ".join(words) + " and then the story went on and on" * 60)


def test_a_name_that_belongs_to_the_subject_is_no_loop() -> None:
    rng = random.Random(2)
    filler = ["".join(rng.choices("的一是不了人我在有他这中大来上个国", k=180)) for _ in range(8)]
    assert not is_repetitive("北京市朝阳区人民法院".join(filler))


QWEN = "<|im_start|>user\nWhat is the capital of France<|im_end|>\n<|im_start|>assistant\n"
LLAMA = (
    "<|start_header_id|>user<|end_header_id|>\n\nWhat is the capital of France<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
OLD = "Human: What is the capital of France\nAssistant:"


@pytest.mark.parametrize("prompt", [QWEN, LLAMA, OLD, "[INST] What is the capital of France [/INST]"])
def test_echoes(prompt: str) -> None:
    assert echoes_prompt(" What is the capital of France\n", prompt, "Paris.")
    assert not echoes_prompt("What is the capital of France", prompt, "What is the capital of France\n")
    assert not echoes_prompt("Paris is the capital of France", prompt, "Paris.")
    assert not echoes_prompt("of France", prompt, "Paris.")
    assert not echoes_prompt("", prompt, "Paris.")


def test_a_question_further_up_is_no_echo() -> None:
    assert not echoes_prompt("What is the capital of France", QWEN.replace("France", "France is my question"), "Paris.")
    assert not echoes_prompt("What is the capital of France", "", "Paris.")


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("It ends.", False),
        ("它完了。", False),
        ("It goes on and", True),
        ("它还没有", True),
        ("a) b", True),
        ("`code`\n", False),
    ],
)
def test_endings(text: str, is_open: bool) -> None:
    assert ending(text).is_open is is_open


def test_tokens_are_estimated() -> None:
    # A token of Qwen's tokenizer has about 4.2 letters or 1.6 Chinese characters.
    assert 90 <= ending("word " * 80).bucket <= 110
    assert 55 <= ending("汉" * 100).bucket <= 75
    assert token_bucket(0.1) == 1
    assert token_bucket(97) == token_bucket(100) < token_bucket(106)


@pytest.mark.parametrize("unit", ["a", "ab ", "汉", "\n", "x y z ", "|---"])
def test_a_bounded_part_of_a_text_is_looked_at(unit: str) -> None:
    def looks(size: int) -> int:
        text = unit * (size // len(unit))
        return calls_of(lambda: (is_repetitive(text), echoes_prompt(text, text + "</s>", "x"), ending(text)))

    assert looks(4_000_000) == looks(40_000) < 100
    # Work inside compiled code makes no calls, but shows in the memory for words and slices.
    text = unit * (4_000_000 // len(unit))
    assert peak(lambda: is_repetitive(text)) < 1_000_000
