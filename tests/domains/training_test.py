from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, CLIPModel

from domains.images import train as images_train
from domains.stories import train
from domains.training import Muon, make_optimizers, orthogonal
from qdfeedback.models.diffusion import Drawing, load_diffusion

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
    monkeypatch.setattr(train, "train_tokenizer", partial(train.train_tokenizer, documents=200))
    with pytest.raises(KeyboardInterrupt):
        train.main(out)
    with pytest.raises(ValueError, match="is of a training with another seed"):
        train.main([*out, "--seed", "1"])
    train.main(out)
    assert len(steps) == 3  # one step, one that was stopped, and that one again
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").num_parameters() > 0
    assert not (tmp_path / "model.part").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--no-compiled", "--compiled"])
def test_picture_models_stopped_learn_what_unbroken_ones_do(how: str, tmp_path: Path, monkeypatch) -> None:
    tiny = ["--steps", "2", "2", "2", "--rows", "2", "4", "2", "--scenes", "24", "--checkpoint-every", "1",
            "--channels", "32", "64", "--threads", "1", how]  # fmt: skip
    images_train.main(["--out", str(tmp_path / "whole"), *tiny])
    original, updates = images_train.update, []

    def stopping(*args):
        updates.append(1)
        if len(updates) == 6:
            raise KeyboardInterrupt
        original(*args)

    monkeypatch.setattr(images_train, "update", stopping)
    with pytest.raises(KeyboardInterrupt):
        images_train.main(["--out", str(tmp_path / "stopped"), *tiny])
    with pytest.raises(ValueError, match="is of a training with another learning_rates"):
        images_train.main(["--out", str(tmp_path / "stopped"), *tiny, "--learning-rates", "1e-3", "1e-3", "1e-3"])
    images_train.main(["--out", str(tmp_path / "stopped"), *tiny])
    assert len(updates) == 7  # five, one that was stopped, and that one again
    drawn = []
    for name in ("whole", "stopped"):
        diffusion = load_diffusion(tmp_path / name / "model", how=Drawing(steps=2), device="cpu")
        noise = np.ones((1, *diffusion.latent_shape), dtype=np.float32)
        drawn.append(diffusion.draw(["a red circle"], noise, np.arange(1)).pixels[0])
        assert diffusion.pipeline.vae.config.scaling_factor > 0
        assert CLIPModel.from_pretrained(tmp_path / name / "clip", dtype=torch.float32).logit_scale.isfinite()
    assert drawn[0].shape == (64, 64, 3)
    assert np.array_equal(*drawn)
    assert not (tmp_path / "stopped" / "training").exists()


def test_orthogonal_matrices_keep_their_singular_vectors() -> None:
    rng = torch.Generator().manual_seed(0)
    for shape in ((3, 8, 20), (2, 20, 8), (1, 16, 16)):
        given = torch.randn(shape, generator=rng)
        found = orthogonal(given)
        left, _, right = torch.linalg.svd(given, full_matrices=False)
        within = left.mT @ found @ right.mT
        values = torch.diagonal(within, dim1=1, dim2=2)
        assert found.shape == shape
        assert (within - torch.diag_embed(values)).abs().max() < 1e-3
        assert 0.3 < values.min() <= values.max() < 1.3


def test_muon_does_to_matrices_what_that_of_torch_does() -> None:
    rng = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=rng) for shape in ((6, 10), (10, 6), (6, 10))]
    slopes = [[torch.randn(one.shape, generator=rng) for one in start] for _ in range(4)]
    ends = []
    for make in (Muon, lambda of: torch.optim.Muon(of, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")):
        parameters = [torch.nn.Parameter(one.clone()) for one in start]
        optimizer = make(parameters)
        optimizer.param_groups[0]["lr"] = 0.01
        for step in slopes:
            for parameter, slope in zip(parameters, step, strict=True):
                parameter.grad = slope.clone()
            optimizer.step()
        ends.append([parameter.detach() for parameter in parameters])
    for ours, theirs, begun in zip(*ends, start, strict=True):
        assert (ours - theirs).norm() < 0.03 * (ours - begun).norm()  # theirs computes in bfloat16


def test_filters_are_matrices_of_one_row_per_output() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(32, 40, 3), torch.nn.Conv2d(40, 4, 3))
    muon, rest = make_optimizers(network, filters=True)
    assert [one.shape[0] for group in muon.param_groups for one in group["params"]] == [40]
    assert len([one for group in rest.param_groups for one in group["params"]]) == 3
    assert len(make_optimizers(network)) == 1
    filters = network[0].weight
    for layout in (torch.contiguous_format, torch.channels_last):
        plain = torch.nn.Parameter(torch.zeros(40, 288))
        twin = torch.nn.Parameter(torch.zeros_like(filters).to(memory_format=layout))
        for one, slope in ((plain, filters.flatten(1)), (twin, filters)):
            one.grad = slope.detach().clone()
            Muon([one]).step()
        assert torch.allclose(twin.flatten(1), plain)
