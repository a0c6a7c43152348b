"""On the numbers of the two documents that the project started from, the ratings say what the documents say."""

import pytest

from lora_tui.analysis import judge
from lora_tui.i18n import Words
from lora_tui.records.documents import LogRow
from tests.support.run_builder import START, run_of, summary, train

NOW = START + 120
ROWS_000 = [
    LogRow(
        "train", 5588, {"loss": 0.0015, "grad_norm": 0.00787273421883583, "lr": 4.566094780413215e-05,
                        "total_tokens": 4316576.0}, epoch=174.62,
    ),
    LogRow("train", 5600, {"loss": 0.0008, "lr": 4.5641e-05, "throughput": 1954.49}, epoch=175.0),
]  # fmt: skip
PREDICT_000 = {
    "predict_bleu-4": 90.87, "predict_model_preparation_time": 0.0057, "predict_rouge-1": 93.98,
    "predict_rouge-2": 91.52, "predict_rouge-l": 93.18, "predict_runtime": 166.20,
    "predict_samples_per_second": 1.191, "predict_steps_per_second": 0.596,
}  # fmt: skip
TABLE_003 = [1.7242, 1.7449, 1.7348, 1.7085, 1.6944, 1.6718, 1.6553, 1.6578, 1.6391, 1.6110, 1.6138, 1.6030]


@pytest.fixture(scope="module")
def first():
    run = run_of(ROWS_000, results={"predict": PREDICT_000}, config={"finetuning_type": "lora", "stage": "sft"})
    return judge(run, NOW)


@pytest.fixture(scope="module")
def third():
    rows = [train(500 * (i + 1), loss, 6250, epochs=1.0, lr=2e-4 - i * 1e-5) for i, loss in enumerate(TABLE_003)]
    rows.append(summary(6250, 6250, epochs=1.0))
    run = run_of(
        rows,
        results={"train": {"train_loss": 1.6679}, "eval": {"eval_loss": 1.6844}},
        config={
            "stage": "sft", "finetuning_type": "lora", "learning_rate": 2e-4, "trainable_percent": 6.65,
            "trainable_params": 35192832,
        },
    )  # fmt: skip
    return judge(run, NOW)


@pytest.mark.parametrize(
    ("metric", "level", "zh"),
    [
        ("loss", "good", "收敛良好"),
        ("grad_norm", "good", "较小的正常范围，训练稳定"),
        ("lr", "good", "微调常见的较小学习率"),
        ("epoch", "fair", "已充分训练"),
        ("throughput", "good", "较高"),
        ("predict_bleu-4", "excellent", "极高，与参考答案高度一致"),
        ("predict_rouge-1", "excellent", "高度重合"),
        ("predict_rouge-2", "excellent", "高度重合"),
        ("predict_rouge-l", "excellent", "高度一致"),
        ("predict_model_preparation_time", "excellent", "极快"),
        ("predict_samples_per_second", "good", "较快"),
    ],
)
def test_what_the_analysis_says(first, metric, level, zh):
    rating = first.ratings[metric]
    assert rating.level == level
    assert zh in Words("zh").rating(rating)


def test_what_the_analysis_misses(first):
    assert [(f.code, f.severity) for f in first.findings if f.severity in ("critical", "warning")] == [
        ("memorised", "warning")
    ]
    assert first.findings[0].evidence["tokens_per_pass"] == pytest.approx(24700, rel=0.01)
    assert first.ratings["loss"].confidence == "few"
    assert "memorised" in first.ratings["loss"].reservations
    bleu = first.ratings["predict_bleu-4"]
    assert bleu.reservations == ("memorised", "unknown_eval_data")
    assert bleu.confidence == "firm"
    assert bleu.params["samples"] == 198
    assert bleu.params["error"] == pytest.approx(1.8, abs=0.05)
    assert first.ratings["predict_steps_per_second"].params["batch"] == 2
    assert first.ratings["total_tokens"].level is None


def test_what_the_summary_says(third):
    words = Words("zh")
    perplexity, loss = third.ratings["perplexity"], third.ratings["eval_loss"]
    assert perplexity.value == pytest.approx(5.39, abs=0.005)
    assert (perplexity.level, loss.level) == ("fair", "fair")
    assert "需要改进" in words.rating(perplexity)
    assert "room to improve" in Words("en").rating(perplexity)
    gap = third.ratings["gap"]
    assert gap.value == pytest.approx(4.6, abs=0.05)
    assert (gap.level, words.rating(gap)) == ("good", "未过拟合")
    assert "只训练一轮" in words.rating_text(gap)
    assert "仅训练 6.65% 参数" in words.rating_text(third.ratings["trainable_percent"])
    assert third.ratings["trainable_percent"].words == "trainable_many"
    assert third.ratings["lr"].level == "good"
    assert third.ratings["loss"].level == "good"
    assert third.ratings["train_loss"].words == "mean_of_run"


def test_noise_in_the_summary_is_no_finding(third):
    assert not [f.code for f in third.findings if f.severity in ("critical", "warning")]
