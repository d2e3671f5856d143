from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from qdfeedback.quality.heads import OnEmbedding, read_head
from tests.contracts import check_quality


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def laion(widths: tuple[int, ...], numbers: tuple[int, ...]) -> torch.nn.Sequential:
    """Layers with gaps between their numbers, as dropouts leave them."""
    layers: list[torch.nn.Module] = [torch.nn.Identity() for _ in range(numbers[-1] + 1)]
    for number, (width, out) in zip(numbers, pairwise(widths), strict=True):
        layers[number] = torch.nn.Linear(width, out)
    return torch.nn.Sequential(*layers)


def test_a_head_of_many_layers_scores_as_torch_does(tmp_path: Path) -> None:
    network = laion((8, 32, 16, 12, 5, 1), (0, 2, 4, 6, 10))  # 10 comes after 2, as a number
    weights = {f"layers.{name}": value for name, value in network.state_dict().items()}
    path = tmp_path / "head.safetensors"
    save_file(weights, path)
    x = np.random.default_rng(0).standard_normal((7, 8)).astype(np.float32)
    expected = network(torch.from_numpy(x)).detach().numpy()[:, 0]
    np.testing.assert_allclose(read_head(path, width=8)(x), expected, atol=1e-5)
    features = np.concatenate([np.zeros((7, 2), dtype=np.float32), x], axis=1)
    features[3, 5] = np.nan
    scores = OnEmbedding(read_head(path), tuple(range(2, 10))).score(features)
    assert np.isnan(scores.mean).tolist() == [i == 3 for i in range(7)]
    check_quality(OnEmbedding(read_head(path), tuple(range(2, 10))), x.repeat(2, axis=1)[:, :10])


def test_a_head_with_an_activation_and_one_of_a_single_layer(tmp_path: Path) -> None:
    first, second = torch.nn.Linear(3, 4), torch.nn.Linear(4, 1)
    of = {"0": first, "2": second}
    save_file(
        {f"{n}.{k}": v for n, one in of.items() for k, v in one.state_dict().items()}, tmp_path / "two.safetensors"
    )
    x = torch.randn(5, 3)
    expected = second(torch.relu(first(x))).detach().numpy()[:, 0]
    np.testing.assert_allclose(
        read_head(tmp_path / "two.safetensors", activation="relu")(x.numpy()), expected, atol=1e-6
    )
    save_file(dict(second.state_dict()), tmp_path / "one.safetensors")
    y = torch.randn(5, 4)
    np.testing.assert_allclose(
        read_head(tmp_path / "one.safetensors")(y.numpy()), second(y).detach().numpy()[:, 0], atol=1e-6
    )


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_file(dict(torch.nn.Linear(4, 1).state_dict()), path)
    with pytest.raises(ValueError, match="does not take 8 numbers"):
        read_head(path, width=8)
    save_file(dict(torch.nn.Linear(4, 2).state_dict()), path)
    with pytest.raises(ValueError, match="must have one output"):
        read_head(path)
    save_file({"weight": torch.zeros(1, 4), "bias": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="everything has one score"):
        read_head(path)
    save_file({"weight": torch.full((1, 4), torch.nan), "bias": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="must be finite"):
        read_head(path)
    save_file({"weight": torch.zeros(1, 4)}, path)
    with pytest.raises(ValueError, match="a weight and a bias"):
        read_head(path)
    with pytest.raises(OSError, match="there is no"):
        read_head(tmp_path / "nothing.safetensors")
    torch.save({"weight": torch.zeros(1, 4)}, path)
    with pytest.raises(ValueError, match="is no safetensors file"):
        read_head(path)


@pytest.mark.parametrize("name", [f"x.{'9' * 5000}.weight", f"{'y' * 5000}.0.weight", "²/0.weight"])
def test_a_head_of_strange_names_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "head.safetensors"
    save_file({name: torch.ones(1, 4)}, path)
    with pytest.raises(ValueError, match=r"head\.safetensors: each layer must have a weight and a bias.{,150}$"):
        read_head(path)


def test_a_header_of_strange_words_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    text = json.dumps({"weight": {"dtype": "\r\n" + "a" * 5000, "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(ValueError, match=r"head\.safetensors is no safetensors file: .{,200}$"):
        read_head(path)
