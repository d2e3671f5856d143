"""DreamSim's adapter, on a stand-in with the library's interface: the library needs torchvision and fetches weights."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from qdfeedback.encoders.dreamsim import DreamSim


class StandIn:
    """Embeds a picture as its mean colour and spread, times its size."""

    def embed(self, batch: torch.Tensor) -> torch.Tensor:
        assert batch.shape[1:] == (3, 224, 224)
        return 7 * torch.cat([batch.mean(dim=(2, 3)), batch.std(dim=(2, 3))], dim=1) + 0.1


def library(**seen: object) -> ModuleType:
    def dreamsim(*, pretrained: bool, device: str, cache_dir: str, dreamsim_type: str):
        seen["asked"].append((pretrained, device, cache_dir, dreamsim_type))  # type: ignore[attr-defined]

        def prepare(image):
            resized = np.asarray(image.convert("RGB").resize((224, 224)), dtype=np.float32) / 255
            return torch.from_numpy(resized).permute(2, 0, 1)[None]

        return StandIn(), prepare

    module = ModuleType("dreamsim")
    module.dreamsim = dreamsim  # type: ignore[attr-defined]
    return module


def test_rows_are_unit_vectors_in_the_order_of_the_pictures(monkeypatch, tmp_path) -> None:
    asked: list[object] = []
    monkeypatch.setitem(sys.modules, "dreamsim", library(asked=asked))
    encoder = DreamSim(device="cpu", cache=tmp_path, batch_size=2)
    assert asked == [(True, "cpu", str(tmp_path), "dino_vitb16")]
    assert encoder.names == tuple(f"dreamsim{i}" for i in range(6))
    pictures = np.random.default_rng(0).integers(256, size=(5, 32, 48, 3), dtype=np.uint8)
    found = encoder.encode(pictures)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(encoder.encode(pictures[3:4])[0], found[3], atol=1e-6)
    assert encoder.encode(pictures[:0]).shape == (0, 6)


def test_without_the_extra_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(ImportError, match=r"qdfeedback\[dreamsim\]"):
        DreamSim()
