from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_tui.formats.config_files import (
    parse_adapter_config,
    parse_llamaboard_config,
    parse_model_card,
    parse_training_args,
)
from lora_tui.formats.secrets import mask_secrets
from lora_tui.records.documents import ConfigValue, FormatError, TornError

DATA = Path(__file__).parent.parent / "data" / "formats"


def read(name: str) -> bytes:
    return (DATA / name).read_bytes()


def test_adapter_config() -> None:
    doc = parse_adapter_config(read("sft/adapter_config.json"))
    written = json.loads(read("sft/adapter_config.json"))
    assert doc.values == {
        "finetuning_type": "lora",
        "lora_rank": written["r"],
        "lora_alpha": written["lora_alpha"],
        "lora_dropout": written["lora_dropout"],
        "lora_target": tuple(sorted(written["target_modules"])),
        "model_name_or_path": written["base_model_name_or_path"],
        "use_rslora": False,
        "bias": "none",
        "peft_version": written["peft_version"],
    }


def test_adapter_config_variants() -> None:
    dora = parse_adapter_config(
        b'{"peft_type": "LORA", "r": 16, "use_dora": true, "target_modules": ".*proj", "modules_to_save": ["b", "a"],'
        b' "init_lora_weights": "pissa_niter_16", "use_rslora": true}'
    ).values
    assert dora["finetuning_type"] == "dora"
    assert dora["lora_target"] == ".*proj"
    assert dora["additional_target"] == ("a", "b")
    assert dora["init_lora_weights"] == "pissa_niter_16"
    oft = parse_adapter_config(b'{"peft_type": "OFT", "r": 0, "target_modules": ["q"]}').values
    assert oft == {"finetuning_type": "oft", "oft_rank": 0, "oft_target": ("q",)}
    assert "init_lora_weights" not in parse_adapter_config(b'{"r": 8, "init_lora_weights": true}').values


def test_every_prefix_of_an_adapter_config_is_torn() -> None:
    data = read("sft/adapter_config.json")
    for end in range(len(data)):
        with pytest.raises(TornError):
            parse_adapter_config(data[:end])
    with pytest.raises(FormatError):
        parse_adapter_config(b'{"model_type": "qwen2"}')


def test_training_args() -> None:
    doc = parse_training_args(read("board/training_args.yaml"))
    assert doc.producer == "llamafactory"
    assert doc.values["learning_rate"] == 0.003
    assert doc.values["dataset"] == "sft_demo"
    assert doc.values["stage"] == "sft"
    assert doc.values["include_num_input_tokens_seen"] is True
    assert len(doc.values) == len(read("board/training_args.yaml").splitlines())


def test_training_args_values() -> None:
    doc = parse_training_args(
        b"learning_rate: 1e-4\nrun_name: 2026-01-02\nadam: 5.0e-05\nlora_target: [q_proj, v_proj]\nnested: {a: 1}\n"
        b"deep: [[1]]\nnothing: null\nbytes: !!binary aGk=\nmodel_name_or_path: Qwen/Qwen3-4B\n1: x\n"
        b"name: \xe4\xb8\x96\n"
    )
    assert doc.values == {
        "learning_rate": 1e-4,
        "run_name": "2026-01-02",
        "adam": 5e-05,
        "lora_target": ("q_proj", "v_proj"),
        "model_name_or_path": "Qwen/Qwen3-4B",
        "name": "世",
    }


BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(15)
)
MERGE_BOMB = b"a: &a {x: 1}\n" + b"".join(
    b"%c: &%c {<<: [%s]}\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(15)
)


def test_alias_bombs_do_no_harm() -> None:
    assert parse_training_args(BOMB).values == {"a": ("x",) * 9}
    with pytest.raises(FormatError):
        parse_training_args(MERGE_BOMB)
    assert parse_training_args(b"a: &a [*a]\nb: &b x\nc: *b\n").values == {"b": "x", "c": "x"}


@pytest.mark.parametrize(
    "data",
    [
        b"- a\n",
        b"text",
        b"a: [",
        b"a: 'x",
        b"a: !!python/object/apply:os.system [ls]\n",
        b"a: " + b"[" * 500_000,
        b"- " * 5000 + b"a",
        b"a: !!int ''\n",
        b"a: !!float x\n",
        b"a: !!bool x\n",
        b"a: !!timestamp x\n",
        b"a: 2024-99-99\n",
        b"a: " + b"9" * 6000,
        b"? [a]\n: 1\n",
        b"a: *b\n",
        b"\x00\x01\xff",
        b"a: 1\n---\nb: 2\n",
        b"a: " + b"x" * 2_000_000,
    ],
)
def test_no_yaml_of_any_kind_raises_anything_else(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_training_args(data)
    assert "\n" not in str(caught.value)
    with pytest.raises(FormatError):
        parse_llamaboard_config(data)
    if len(data) < 1024 * 1024:
        parse_model_card(b"---\n" + data + b"\n---\n")


def test_a_python_object_is_not_made() -> None:
    with pytest.raises(FormatError):
        parse_training_args(b"a: !!python/name:os.system\n")


@pytest.mark.parametrize(
    "parse", [parse_adapter_config, parse_training_args, parse_llamaboard_config, parse_model_card]
)
def test_an_empty_file_is_torn(parse: object) -> None:
    assert callable(parse)
    for data in (b"", b" \n"):
        with pytest.raises(TornError):
            parse(data)


def test_llamaboard_config() -> None:
    board = dict(parse_llamaboard_config(read("board/llamaboard_config.yaml")).values)
    assert board["stage"] == "sft"
    assert board["optim"] == "adamw_torch"  # from extra_args
    assert board["bf16"] is True
    exact = parse_training_args(read("board/training_args.yaml")).values
    # The page names its model by a title; the other options are the same, except those that it sets at launch.
    page_only = {"model_name_or_path", "num_train_epochs", "bf16"}
    assert {key: value for key, value in board.items() if key not in page_only}.items() <= exact.items()


def test_llamaboard_stages_and_methods() -> None:
    page = (
        "top.finetuning_type: full\ntop.quantization_bit: '4'\ntop.quantization_method: bnb\n"
        "top.checkpoint_path: [a, b]\ntrain.training_stage: {}\n"
        "train.learning_rate: '5e-5'\ntrain.num_train_epochs: '3.0'\n"
        "train.lora_rank: 8\n"
        "train.dataset: [one, two]\ntrain.pref_beta: 0.1\ntrain.ppo_whiten_rewards: true\ntrain.ds_stage: '3'\n"
        "train.ds_offload: true\ntrain.use_swanlab: true\ntrain.swanlab_api_key: abc\n"
        'train.extra_args: \'{{"hub_token": "x", "optim": "adamw_torch"}}\'\n'
    )
    stages = {
        "Supervised Fine-Tuning": "sft",
        "Reward Modeling": "rm",
        "PPO": "ppo",
        "DPO": "dpo",
        "KTO": "kto",
        "Pre-Training": "pt",
    }
    for title, code in stages.items():
        values = parse_llamaboard_config(page.format(title).encode()).values
        assert values["stage"] == code
        assert ("pref_beta" in values) == (code in ("dpo", "kto"))
        assert ("ppo_whiten_rewards" in values) == (code == "ppo")
        assert "lora_rank" not in values
        assert (values["learning_rate"], values["num_train_epochs"]) == (5e-5, 3.0)
        assert (values["dataset"], values["adapter_name_or_path"]) == ("one,two", "a,b")
        assert (values["quantization_bit"], values["deepspeed"]) == (4, "ds_z3_offload_config.json")
        assert (values["swanlab_api_key"], values["hub_token"]) == ("***", "***")
    assert "stage" not in parse_llamaboard_config(page.format("Something New").encode()).values


def test_model_card_of_a_llamafactory_job() -> None:
    doc = parse_model_card(read("sft/README.md"))
    assert doc.producer == "llamafactory"
    assert doc.values == {
        "model_name_or_path": "tiny-qwen2",
        "finetuning_type": "lora",
        "dataset": "sft_demo",
        "learning_rate": 0.003,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 8,
        "seed": 42,
        "gradient_accumulation_steps": 2,
        "total_train_batch_size": 8,
        "optim": "adamw_torch_fused",
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "num_train_epochs": 3.0,
        "peft_version": "0.18.1",
        "transformers_version": "5.6.0",
        "torch_version": "2.13.0+cpu",
        "datasets_version": "4.0.0",
        "tokenizers_version": "0.22.2",
    }
    assert parse_model_card(read("ddp/README.md")).values["num_devices"] == 2
    assert parse_model_card(read("dpo/README.md")).values["max_steps"] == 120


def test_model_card_of_trl_and_the_template_of_a_checkpoint() -> None:
    trl = parse_model_card(read("trl/README.md"))
    assert trl.producer == "trl"
    assert (trl.values["stage"], trl.values["finetuning_type"], trl.values["trl_version"]) == ("sft", "lora", "0.24.0")
    template = parse_model_card(read("crashed/README.md"))
    assert template.values == {"model_name_or_path": "tiny-qwen2"}


def test_older_model_card() -> None:
    doc = parse_model_card(
        b"---\r\nlicense: other\r\nbase_model: [/models/a b]\r\ntags:\r\n- llama-factory\r\n- full\r\n"
        b"- generated_from_trainer\r\n---\r\n\r\n"
        b"This model is a fine-tuned version of [/models/a b](https://huggingface.co//models/a b) on the one, the two"
        b" and the three datasets.\r\n"
        b"The following hyperparameters were used during training:\r\n- learning_rate: 5e-05\r\n"
        b"- optimizer: Adam with betas=(0.9,0.999) and epsilon=1e-08\r\n- lr_scheduler_warmup_steps: 20\r\n"
        b"- mixed_precision_training: Native AMP\r\n\r\n### Training results\r\n- seed: 7\r\n"
    )
    assert doc.values == {
        "model_name_or_path": "/models/a b",
        "finetuning_type": "full",
        "dataset": "one,two,three",
        "learning_rate": 5e-05,
        "optim": "adam",
        "warmup_steps": 20,
        "mixed_precision_training": "Native AMP",
    }
    two = b"This model was trained from scratch on the A and B datasets.\n"
    assert parse_model_card(two).values == {"dataset": "A,B"}
    assert parse_model_card(b"This model is a fine-tuned version of [x](y) on an unknown dataset.\n").values == {}


@pytest.mark.parametrize(
    "data", [b"# My project\n", b"---\nnever closed", b"---\n: [\n---\n", b"\xff\xfe\xfd", b"---\n---\n"]
)
def test_any_readme_is_read_without_an_error(data: bytes) -> None:
    assert parse_model_card(data).values == {}


def test_every_prefix_of_a_model_card_is_read() -> None:
    data = read("sft/README.md")
    for end in range(1, len(data), 7):
        parse_model_card(data[:end])


def test_hostile_megabytes_are_quick() -> None:
    for part in (
        b"fine-tuned version of x on the ",
        b"This model is a fine-tuned version of [",
        b"---\n",
        b"- seed: 1\n",
    ):
        parse_model_card(part * (1024 * 1024 // len(part)))


def test_secrets_are_masked() -> None:
    secret: dict[str, ConfigValue] = {
        "swanlab_api_key": "abc",
        "WANDB_APIKEY": "abc",
        "api-key": "abc",
        "hub_token": "abc",
        "token": 12345,
        "client_secret": "abc",
        "db_password": ("a", "b"),
        "credentials": "abc",
        "run_name": "hf_abcDEF123",
        "other": "sk-abcdefgh1234",
        "list": ("plain", "hf_abcDEF123"),
        "url": "https://user:pass@host/path",
        "cmd": "--key sk-" + "a1" * 20 + " --x",
    }
    masked = mask_secrets(secret)
    assert {masked[key] for key in list(secret)[:10]} == {"***"}
    assert masked["list"] == ("plain", "***")
    assert masked["url"] == "https://***@host/path"
    assert masked["cmd"] == "--key *** --x"


def test_what_is_no_secret_stays() -> None:
    plain: dict[str, ConfigValue] = {
        "max_new_tokens": 512,
        "include_num_input_tokens_seen": True,
        "tokenized_path": "cache/a",
        "use_fast_tokenizer": True,
        "tokenizer_name": "x",
        "skip_special_tokens": True,
        "pad_token_id": 3,
        "hub_token": "",
        "api_key": None,
        "use_auth_token": False,
        "output_dir": "hf_checkpoints",
        "model_name_or_path": "saves/disk-models/task-aaaaaaaaaaaaaaaaaaaaaaaa",
        "dataset": "https://example.org/a",
    }
    assert mask_secrets(plain) == plain


def test_secrets_of_a_file_never_come_out() -> None:
    doc = parse_training_args(b"swanlab_api_key: verysecret\nhub_token: [verysecret]\noutput_dir: saves\n")
    assert "verysecret" not in repr(doc)
    assert doc.values["output_dir"] == "saves"
