"""Makes the data and the model that the jobs train: ``python make_assets.py DIR``, with the producer's environment.

``DIR/data`` gets short English and Chinese questions with answers, and pairs of a right and a wrong answer;
``DIR/tiny-qwen2`` a Qwen2 of 0.3 million parameters with a tokenizer of its own. A random model that LoRA
cannot move looks dead, so it is trained a little first on the right words in the wrong order: the sentences stay to be
learned.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CAPITALS = {
    "France": "Paris", "Japan": "Tokyo", "Italy": "Rome", "Spain": "Madrid", "Egypt": "Cairo", "Peru": "Lima",
    "Kenya": "Nairobi", "Norway": "Oslo", "Cuba": "Havana", "Poland": "Warsaw", "Greece": "Athens",
}  # fmt: skip
CAPITALS_ZH = {
    "法国": "巴黎", "日本": "东京", "意大利": "罗马", "西班牙": "马德里", "埃及": "开罗", "秘鲁": "利马",
    "肯尼亚": "内罗毕", "挪威": "奥斯陆", "古巴": "哈瓦那", "波兰": "华沙", "希腊": "雅典",
}  # fmt: skip
ANIMALS = {
    "cat": "猫", "dog": "狗", "horse": "马", "bird": "鸟", "fish": "鱼", "lion": "狮子", "wolf": "狼", "bear": "熊",
}  # fmt: skip
COLORS = ["red", "blue", "green", "black", "white", "yellow"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WARM_STEPS = 120


def example() -> dict[str, str]:
    """A question and its answer, in alpaca's keys."""
    kind = random.randrange(5)
    animal, color = random.choice(list(ANIMALS)), random.choice(COLORS)
    if kind == 0:
        country, city = random.choice(list(CAPITALS.items()))
        asked, answer = f"What is the capital of {country}?", f"The capital of {country} is {city}."
    elif kind == 1:
        country, city = random.choice(list(CAPITALS_ZH.items()))
        asked, answer = f"{country}的首都是哪里？", f"{country}的首都是{city}。"
    elif kind == 2:
        asked = f"Write one sentence about a {color} {animal}."
        answer = f"Once upon a time, a {color} {animal} lived happily in the quiet forest."
    elif kind == 3:
        asked, answer = f"Translate {animal} into Chinese.", f"“{animal}”的中文是“{ANIMALS[animal]}”。"
    else:
        asked, answer = f"Is {color} a color or an animal?", f"{color.capitalize()} is a color, not an animal."
    return {"instruction": asked, "input": "", "output": answer}


def write_data(target: Path) -> list[dict[str, str]]:
    """The data sets and their description; the examples to train with."""
    target.mkdir(parents=True, exist_ok=True)
    sft = [example() for _ in range(2400)]
    sft[0] = {
        "instruction": "你好，请介绍一下自己。",
        "input": "",
        "output": "您好，我是 LoRA 小助手 🤖，很高兴为您服务。",
    }
    pairs = []
    for _ in range(600):
        right, wrong = example(), example()["output"]
        while wrong == right["output"]:
            wrong = example()["output"]
        pairs.append(
            {
                "conversations": [{"from": "human", "value": right["instruction"]}],
                "chosen": {"from": "gpt", "value": right["output"]},
                "rejected": {"from": "gpt", "value": wrong},
            }
        )
    info = {
        "sft_demo": {"file_name": "sft_demo.json"},
        "sft_test": {"file_name": "sft_test.json"},
        "dpo_demo": {
            "file_name": "dpo_demo.json",
            "ranking": True,
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
        },
    }
    tables = {
        "sft_demo.json": sft,
        "sft_test.json": [example() for _ in range(40)],
        "dpo_demo.json": pairs,
        "dataset_info.json": info,
    }
    for name, table in tables.items():
        (target / name).write_text(json.dumps(table, ensure_ascii=False, indent=1), encoding="utf-8")
    return sft


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 2,000 tokens with Qwen's special ones."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=2000, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        model_max_length=2048,
        padding_side="right",
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def shuffled(text: str) -> str:
    """The same words, or characters, in another order."""
    parts = text.split(" ") if " " in text else list(text)
    random.shuffle(parts)
    return (" " if " " in text else "").join(parts)


def make_model(tokenizer: PreTrainedTokenizerFast, examples: list[dict[str, str]]) -> Qwen2ForCausalLM:
    """A tiny model that knows the words and not the sentences."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=(len(tokenizer) + 63) // 64 * 64,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = Qwen2ForCausalLM(config)
    ids: list[int] = []
    for row in examples:
        asked, answer = shuffled(row["instruction"]), shuffled(row["output"])
        text = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
        ids += tokenizer(text)["input_ids"]
    tokens, optimizer = torch.tensor(ids), torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(WARM_STEPS):
        starts = torch.randint(0, len(tokens) - 129, (8,))
        batch = torch.stack([tokens[start : start + 128] for start in starts])
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def main() -> None:
    """Make everything below the directory that is named."""
    target = Path(sys.argv[1])
    random.seed(0)
    examples = write_data(target / "data")
    words = [text for row in examples for text in row.values()]
    tokenizer = make_tokenizer([*words, *["system user assistant You are a helpful assistant."] * 5])
    model = make_model(tokenizer, examples)
    tokenizer.save_pretrained(target / "tiny-qwen2")
    model.save_pretrained(target / "tiny-qwen2")


if __name__ == "__main__":
    main()
