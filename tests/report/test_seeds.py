"""Reports of the jobs of two hand-written documents contain every fact of the documents, and what they miss."""

from __future__ import annotations

import re

import pytest

from lora_tui.i18n import Words
from lora_tui.report.render import box, markdown
from lora_tui.text.cells import cell_width
from tests.report import seeds

ZH = [
    "Qwen2-0.5B-Instruct QLoRA 训练结果摘要",
    "完成时间：2025-12-29 20:21",
    "训练时长：1小时52分钟",
    "总步数：6250 步",
    "平均训练 loss：1.6679",
    "末段 loss：1.6030（第 6000 步）",
    "验证 loss：1.6844",
    "困惑度 PPL：5.39",
    "模型：Qwen2-0.5B-Instruct + QLoRA",
    "LoRA rank：64 | alpha: 128",
    "batch 大小：4 × 4 = 16（单设备）",
    "学习率：2e-4（cosine 衰减",
    "数据：≈100k 训练 + ≈2k 验证（推算）",
    "PPL 5.39：偏高，需要改进",
    "未过拟合：训练/验证 loss 接近（差距 +4.6%），只训练一轮",
    "QLoRA：仅训练 6.65% 参数，对 LoRA 而言较多，容量不太可能是瓶颈",
]
EN = [
    "Qwen2-0.5B-Instruct QLoRA training summary",
    "Finished: 2025-12-29 20:21",
    "Duration: 1 h 52 min",
    "Steps: 6250",
    "Mean train loss: 1.6679",
    "Loss at the end: 1.6030 (step 6000)",
    "Eval loss: 1.6844",
    "Perplexity (PPL): 5.39",
    "Model: Qwen2-0.5B-Instruct + QLoRA",
    "LoRA rank: 64 | alpha: 128",
    "Batch size: 4 × 4 = 16 (one device)",
    "Learning rate: 2e-4 (cosine decay",
    "Data: ≈100k train + ≈2k eval (derived)",
    "PPL 5.39: high, room to improve",
    "Not overfit: train and eval loss are close (+4.6 %), one epoch only",
    "QLoRA: 6.65 % of the parameters trained, many for LoRA; capacity is unlikely to be the limit",
]


def unwrapped(text):
    """Return the text of the box without its frame and without line breaks."""
    lines = [line[1:-1].rstrip() for line in text.splitlines()]
    joined = ""
    for line in lines:
        if line.startswith("    "):
            before, after = joined[-1:], line.lstrip()[:1]
            joined += ("" if cell_width(before) == 2 or cell_width(after) == 2 else " ") + line.lstrip()
        else:
            joined += "\n" + line
    return joined


class TestSummary:
    @pytest.mark.parametrize(("lang", "facts"), [("zh", ZH), ("en", EN)])
    def test_the_box_has_every_fact(self, report, tmp_path, lang, facts):
        text = unwrapped(box.render(report(seeds.write_summary(tmp_path), lang), Words(lang)))
        assert [fact for fact in facts if fact not in text] == []

    @pytest.mark.parametrize(("lang", "step"), [("zh", "步"), ("en", "step")])
    def test_the_loss_by_500_steps(self, report, tmp_path, lang, step):
        text = box.render(report(seeds.write_summary(tmp_path), lang), Words(lang))
        found = re.findall(step + r" +(\d+): ([\d.]+)", text)
        assert found == [(str(500 * at), f"{loss:.4f}") for at, loss in enumerate(seeds.LOSSES, 1)]

    def test_the_box_is_as_wide_as_the_document(self, report, tmp_path):
        for lang in ("zh", "en"):
            text = box.render(report(seeds.write_summary(tmp_path), lang), Words(lang), limit=120)
            assert {cell_width(line) for line in text.splitlines()} == {64}

    def test_noise_is_no_finding_and_nothing_is_wrong(self, report, tmp_path):
        made = report(seeds.write_summary(tmp_path))
        assert [f.code for f in made.findings_explained if f.severity in ("critical", "warning")] == []
        assert not made.in_progress
        assert made.conclusion == "Nothing in the files speaks against this run."

    def test_computed_values_say_so(self, report, tmp_path):
        made = report(seeds.write_summary(tmp_path))
        facts = {fact.code: fact for section in made.sections for fact in section.facts}
        assert {code for code, fact in facts.items() if fact.derived} == {"speed", "perplexity", "gap", "data"}
        assert facts["data"].value == "≈100k train + ≈2k eval"
        assert facts["data"].note == "derived: steps × batch ÷ epochs, runtime × samples per second"
        assert facts["perplexity"].note == "derived: exp(eval loss)"
        assert facts["train_loss"].source == "train_results.json"

    def test_without_a_console_log(self, report, tmp_path):
        made = report(seeds.write_summary(tmp_path, console=False))
        assert made.title == "Qwen2-0.5B-Instruct LoRA training summary"
        facts = {fact.code: fact for section in made.sections for fact in section.facts}
        assert facts["batch"].value == "4 × 4 = 16"
        assert facts["data"].value == "≈100k train + ≈2k eval"
        assert "trainable" not in facts

    def test_sizes_from_a_file_are_not_computed(self, report, tmp_path):
        log = seeds.write_summary(tmp_path) / "train.log"
        sizes = (
            "[INFO|trainer.py:2520] 2025-12-29 18:28:39,487 >> ***** Running training *****\n"
            "[INFO|trainer.py:2521] 2025-12-29 18:28:39,487 >>   Num examples = 100,000\n"
            "[INFO|trainer.py:4643] 2025-12-29 20:21:06,487 >> ***** Running Evaluation *****\n"
            "[INFO|trainer.py:4645] 2025-12-29 20:21:06,487 >>   Num examples = 2000\n"
        )
        when = log.stat().st_mtime
        log.write_text(log.read_text(encoding="utf-8") + sizes, encoding="utf-8")
        seeds.date(log, when)
        facts = {fact.code: fact for section in report(tmp_path).sections for fact in section.facts}
        assert facts["data"].value == "100k train + 2k eval"
        assert facts["data"].source == "train.log"
        assert not facts["data"].derived


METRICS = {
    "### 1. loss": ["衡量模型预测与真实标签的差距", "持续下降，收敛良好", "从 0.0015 到 0.0008"],
    "梯度范数（grad_norm）": ["梯度大小", "0.007873", "较小的正常范围，训练稳定"],
    "学习率峰值（lr）": ["参数更新的步长", "4.57e-5", "微调常见的较小学习率"],
    "轮数（epoch）": ["遍历训练数据的次数", "175.00", "已充分训练"],
    "tokens（total_tokens）": ["token 总数", "4,316,576", "每轮 24.7k × 175 轮"],
    "throughput）": ["每秒处理的 token 数", "1954.49 tokens/s", "较高"],
    "predict_bleu-4）": ["与参考答案的相似度", "90.87", "极高，与参考答案高度一致"],
    "ROUGE-1 / ROUGE-2 / ROUGE-L": [
        "单词重合度", "二元词组", "最长公共子序列", "93.98", "91.52", "93.18", "高度重合", "高度一致",
    ],
    "predict_model_preparation_time）": ["封装模型的时间", "0.0057 秒", "极快", "不含加载权重"],
    "predict_runtime）": ["总耗时", "166.2 秒", "198 条样本"],
    "predict_samples_per_second）": ["每秒处理的样本数", "1.191 样本/s", "较快"],
    "predict_steps_per_second）": ["0.596", "批大小 2"],
}  # fmt: skip


class TestAnalysis:
    @pytest.fixture
    def text(self, report, tmp_path):
        return markdown.render(report(seeds.write_analysis(tmp_path), "zh"), Words("zh"))

    @pytest.mark.parametrize("heading", METRICS)
    def test_each_metric_is_explained_with_the_same_verdict(self, text, heading):
        parts = re.split(r"\n(?=#{2,3} )", text)
        part = next(part for part in parts if heading in part.split("\n", 1)[0])
        assert [said for said in METRICS[heading] if said not in part] == []
        assert "**含义**" in part
        assert "**分析**" in part

    def test_it_adds_what_the_document_misses(self, text):
        assert "**▲ 警告 · 已记住训练数据**" in text
        assert "模型已记住训练数据，请以未见过的数据为准。" in text
        assert "预测用的数据未知，请确认不是训练集。" in text
        assert "数据较少。" in text

    def test_it_has_the_parts_of_the_document(self, text):
        headings = [line for line in text.splitlines() if line.startswith("## ")]
        for wanted in ("指标分析", "总结", "预测结果分析"):
            assert f"## {wanted}" in headings
        assert '"predict_bleu-4": 90.87' in text
        assert "0.00787273421883583" in text
        assert "- BLEU-4 90.87、ROUGE-1 93.98、ROUGE-2 91.52、ROUGE-L 93.18：极高，与参考答案高度一致。" in text

    def test_the_same_in_english(self, report, tmp_path):
        text = markdown.render(report(seeds.write_analysis(tmp_path)), Words("en"))
        for said in (
            "converging", "small and stable", "usual for fine-tuning", "far more than the usual", "24.7k a pass",
            "rather high", "nearly the reference", "order kept", "very short", "fast",
        ):  # fmt: skip
            assert said in text
        assert not re.search(r"[\u4e00-\u9fff]", text)
