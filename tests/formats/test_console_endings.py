"""Rare endings of console logs: which line is the failure, of which rank, and at which step a row is."""

from __future__ import annotations

import pytest

from lora_tui.formats.console.parser import ConsoleParser
from lora_tui.records.documents import ConsoleFacts, LogRow

TRACE = 'Traceback (most recent call last):\n  File "/x/bin/train.py", line 3, in <module>\n    main()\n'


def read(text: str) -> tuple[list[LogRow], ConsoleFacts]:
    parser = ConsoleParser()
    rows = [row for chunk in (text.encode(), b"") for row in parser.feed(chunk)]
    return rows, parser.snapshot()


def kind(text: str) -> str | None:
    failure = read(text)[1].failure
    return None if failure is None else failure.kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRACE + "SystemExit: 0\n", None),
        (TRACE + "SystemExit\n", None),
        (TRACE + "KeyboardInterrupt\n", "interrupted"),
        ("  exitcode  : 0 (pid: 5)\n", None),
        ("  exitcode  : -9 (pid: 5)\n", "out_of_memory"),
        ("  exitcode  : -15 (pid: 5)\n", "terminated"),
        ("  exitcode  : -2 (pid: 5)\n", "interrupted"),
        ("exits with return code = 1\n", "exception"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n", "out_of_memory"),
        ("RuntimeError: NPU out of memory. Tried\n", "out_of_memory"),
        ("Segmentation fault (core dumped)\n", "exception"),
        ("train.sh: line 5:  123 Aborted                 (core dumped) llamafactory-cli train\n", "exception"),
        ("train.sh: line 5:  123 Hangup                  llamafactory-cli train\n", "terminated"),
        ("Terminated\n", "terminated"),
        ("slurmstepd: error: *** JOB 5 ON node CANCELLED AT 2026 ***\n", "terminated"),
        ("slurmstepd: error: Detected 1 oom-kill event(s)\n", "out_of_memory"),
        ("[E] Watchdog caught collective operation timeout: WorkNCCL\n", "exception"),
        ("Received SIGINT death signal, shutting down workers\n", "interrupted"),
        ("Sending process 5 closing signal SIGTERM\n", "terminated"),
        (TRACE + "torch.distributed.elastic.SignalException: Process 5 got signal: 15\n", "terminated"),
        (TRACE + "ChildFailedError: exitcode -9, SIGTERM\n", "terminated"),
    ],
)  # fmt: skip
def test_what_is_a_failure(text: str, expected: str | None) -> None:
    assert kind(text) == expected


def test_a_traceback_that_never_ends_is_given_up() -> None:
    assert kind(TRACE + "some text\n" * 41 + "ValueError: later\n") is None
    assert kind(TRACE + "some text\n" * 39 + "ValueError: soon\n") == "exception"


def test_an_interruption_stays_one_whatever_other_ranks_say() -> None:
    text = TRACE + "KeyboardInterrupt\n" + TRACE + "BrokenPipeError: [Errno 32] Broken pipe\n"
    failure = read(text)[1].failure
    assert failure is not None
    assert failure.message == "KeyboardInterrupt"


def test_the_cause_is_the_rank_that_did_not_lose_its_partner() -> None:
    def rank(number: int, error: str) -> str:
        return "".join(f"[rank{number}]: {line}\n" for line in [*TRACE.splitlines(), error])

    victim, cause = rank(0, "RuntimeError: NCCL error: connection closed"), rank(1, "ValueError: bad example")
    for text in (victim + cause, cause + victim):
        failure = read(text)[1].failure
        assert failure is not None
        assert failure.message == "ValueError: bad example"
    later = read(cause + rank(2, "KeyError: other"))[1].failure
    assert later is not None
    assert later.message == "ValueError: bad example"


def header(examples: int, epochs: int, batch: int, total: int) -> str:
    return (
        f"***** Running training *****\n  Num examples = {examples:,}\n  Num Epochs = {epochs:,}\n"
        f"  Total train batch size (w. parallel, distributed & accumulation) = {batch}\n"
        f"  Total optimization steps = {total:,}\n"
    )


def test_the_first_step_may_be_logged_beside_the_regular_ones() -> None:
    """With ``logging_first_step``, the steps 1, 10, 20, … explain the epochs where no multiples do."""
    log = header(400, 1, 4, 100) + "".join(
        f"{{'loss': 1.5, 'grad_norm': 1.0, 'epoch': {step / 100}}}\n" for step in (1, 10, 20, 30)
    )
    rows, _ = read(log)
    assert [row.step for row in rows] == [1, 10, 20, 30]


def test_where_no_interval_explains_the_epochs_they_are_rounded() -> None:
    rows, _ = read(
        header(400, 1, 4, 100)
        + "".join(f"{{'loss': 1.5, 'grad_norm': 1.0, 'epoch': {step / 100}}}\n" for step in (7, 8, 31, 77))
    )
    assert [row.step for row in rows][-1] == 77


def test_an_evaluation_without_a_bar_is_where_its_epoch_says() -> None:
    rows, _ = read(header(400, 1, 4, 100) + "{'eval_loss': 1.5, 'epoch': 0.5}\n{'eval_loss': 1.25, 'epoch': 1.0}\n")
    assert [row.step for row in rows] == [50, 100]


def test_a_streamed_data_set_has_one_epoch_of_all_steps() -> None:
    rows, facts = read(header(10**15, 2**63 - 1, 4, 100) + "{'loss': 1.5, 'grad_norm': 1.0, 'epoch': 0.1}\n")
    assert [row.step for row in rows] == [10]
    assert facts.total_steps == 100
    assert "num_train_epochs" not in facts.config


def test_without_a_header_the_longest_bar_is_that_of_training() -> None:
    frames = "".join(f"\r {step}%|x| {step}/100 [00:0{step}<00:10, 1it/s]" for step in (1, 2))
    _, facts = read(frames + "\r 50%|x| 5/10 [00:01<00:01, 1it/s]\r\n")
    assert (facts.step, facts.total_steps) == (2, 100)
