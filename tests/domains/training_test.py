from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from domains.stories import train

TINY = (
    "--rows",
    "1",
    "--width",
    "64",
    "--layers",
    "1",
    "--vocabulary",
    "400",
    "--checkpoint-every",
    "1",
    "--threads",
    "1",
)


def test_training_goes_on_with_its_own_checkpoint_alone(tmp_path: Path, monkeypatch) -> None:
    out = ["--out", str(tmp_path / "model"), "--steps", "2", *TINY]
    original = train.loss_of
    steps = []

    def stopping(*args):
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(train, "loss_of", stopping)
    with pytest.raises(KeyboardInterrupt):
        train.main(out)
    with pytest.raises(ValueError, match="is of a training with another seed"):
        train.main([*out, "--seed", "1"])
    train.main(out)
    assert len(steps) == 3  # one step, one that was stopped, and that one again
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").num_parameters() > 0
    assert not (tmp_path / "model.part").exists()
