"""No parser raises for the inputs in the fuzzer's corpus, nor for those that Hypothesis makes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.fuzz import corpus, seeds
from tools.fuzz.targets import FILE, RECORD, TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_holds(target: str) -> None:
    kept = corpus.load(target)
    assert kept, "make fuzz keeps at least what it starts from"
    for one in kept:
        TARGETS[target](one)


def test_the_corpus_is_small() -> None:
    files = list(corpus.HOME.iterdir())
    assert {path.stem for path in files} == set(TARGETS)
    assert sum(path.stat().st_size for path in files) < 300_000


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_hold(target: str) -> None:
    found = list(seeds.of(target))
    assert found
    for one in found:
        TARGETS[target](one)


NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25),
    st.integers(0, 100),
    st.floats(),
    st.sampled_from([2**53, 2**63, -1, 1e308, 10**400]),
)
KEYS = st.sampled_from(
    ["current_steps", "total_steps", "step", "epoch", "loss", "lr", "eval_loss", "elapsed_time", "global_step",
     "max_steps", "log_history", "total_flos", "train_loss", "train_runtime", "best_model_checkpoint",
     "stateful_callbacks", "args", "EarlyStoppingCallback", "attributes", "early_stopping_patience",
     "early_stopping_patience_counter", "r",
     "peft_type", "target_modules", "prompt", "predict", "label", "chosen", "rejected", "extra_args",
     "train.training_stage", "top.finetuning_type", "train.extra_args", "rewards/accuracies", "throughput"]
)  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=12), KEYS, st.just("0:00:01")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(KEYS, st.text(max_size=6)), inner, max_size=6)
    ),
    max_leaves=12,
)
TEXT_OF_JSON = st.lists(JSON, max_size=4).map(lambda values: "\n".join(map(json.dumps, values)).encode())


def pieces(target: str) -> st.SearchStrategy[bytes]:
    """Words of the format, pieces of real files, values that the format may hold, and noise."""
    words = [word.encode("utf-8", "surrogatepass") for word in seeds.WORDS[target]]
    real = sorted(set(seeds.of(target)))
    piece = st.one_of(
        st.sampled_from(words), st.sampled_from(real), TEXT_OF_JSON, st.binary(max_size=20),
        st.sampled_from([b"\n", b"\r", b"\0", b'"', b"\\", b"{", b"[", b"\xff", b" " * 9, b"9" * 500, FILE, RECORD]),
    )  # fmt: skip
    return st.lists(piece, max_size=8).map(b"".join)


@pytest.mark.hypothesis
@pytest.mark.parametrize("target", TARGETS)
def test_anything_holds(target: str) -> None:
    @settings(max_examples=15 if target == "run" else 60)
    @given(st.one_of(st.binary(max_size=300), pieces(target)))
    def holds(data: bytes) -> None:
        TARGETS[target](data)

    holds()
