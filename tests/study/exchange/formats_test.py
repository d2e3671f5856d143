"""What is exported is taken by the libraries that are to take it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from qdfeedback.study.exchange.exports import export
from tests.study.exchange.exports_test import asked_for
from tests.study.small_study import small_study

ROOT = Path(__file__).resolve().parents[3]
LABEL_STUDIO = Path(os.environ.get("LABEL_STUDIO_PYTHON", ROOT / ".venv/label-studio/bin/python"))
CHECK = """
import json, sys
from pathlib import Path
from label_studio_sdk.label_interface import LabelInterface
for config in sorted(Path(sys.argv[1]).rglob("config.xml")):
    interface = LabelInterface(config.read_text())
    interface.validate()
    tasks = json.loads((config.parent / "tasks.json").read_text())
    print(json.dumps([config.parent.name, len(tasks), all(interface.validate_task(task) for task in tasks)]))
"""


@pytest.mark.slow
def test_label_studio_takes_configurations_and_tasks(tmp_path: Path) -> None:
    """Its package wants libraries of other versions than ours, and lives in an environment of its own."""
    if not LABEL_STUDIO.exists():
        pytest.skip(f"label-studio-sdk is not installed in {LABEL_STUDIO.parent.parent}: make test-all does it")
    small = small_study(tmp_path / "study")
    export(small.folder, small.database, small.study, tmp_path / "out", fmt="label-studio")
    command = [LABEL_STUDIO, "-c", CHECK, tmp_path / "out"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [json.loads(line) for line in out.splitlines()] == [
        ["1-alike", 8, True], ["2-better", 6, True], ["3-grade", 1, True], ["4-mood", 2, True],
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["", "two three"])
def test_trl_trains_a_reward_model_on_exported_pairs(tmp_path: Path, monkeypatch, prompt: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("trl")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast
    from trl import RewardConfig, RewardTrainer
    from trl.data_utils import is_conversational

    small = small_study(tmp_path / "study", questions=("better",))
    if prompt:
        asked_for(small, "p/0", prompt=prompt)
    n = export(small.folder, small.database, small.study, tmp_path / "pairs.jsonl", fmt="trl")
    cache = str(tmp_path / "cache")
    pairs = datasets.load_dataset("json", data_files=str(tmp_path / "pairs.jsonl"), split="train", cache_dir=cache)
    assert len(pairs) == n == 1
    assert pairs.column_names == [*(["prompt"] if prompt else []), "chosen", "rejected"]
    assert not is_conversational(pairs[0])
    words = {"[UNK]": 0, "[PAD]": 1, "[EOS]": 2, "two": 3, "three": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", eos_token="[EOS]")
    config = GPT2Config(vocab_size=5, n_positions=128, n_embd=8, n_layer=1, n_head=1, num_labels=1, pad_token_id=1)
    how = RewardConfig(
        output_dir=str(tmp_path / "reward"), max_steps=1, per_device_train_batch_size=1, use_cpu=True, bf16=False,
        report_to=[], save_strategy="no",
    )  # fmt: skip
    trainer = RewardTrainer(
        model=GPT2ForSequenceClassification(config), args=how, train_dataset=pairs, processing_class=fast
    )
    seen = next(name for name in trainer.train_dataset.column_names if name.startswith("chosen_"))
    assert (trainer.train_dataset[0][seen][:2] == [3, 4]) == bool(prompt), "the prompt comes before the text"
    assert trainer.train().training_loss > 0
