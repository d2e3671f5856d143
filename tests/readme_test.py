"""What the README shows is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.diversity.similarity import fit_similarity
from qdfeedback.feedback.queries import uniform_triplets

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_bring_your_own_domain(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    block, loop = (next(block for block in BLOCKS if name in block) for name in ("class Cannon", "loop = Loop("))
    body = block[block.index("class Cannon") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 34
    names = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    found = re.match(r"(\d+) ways to shoot, (\d+) failures", capsys.readouterr().out)
    assert found is not None
    assert int(found[1]) > 100
    exec(compile(loop, "README.md", "exec"), names)
    found = re.match(r"(\d+) ways to shoot, (\d+)% of held-out answers predicted", capsys.readouterr().out)
    assert found is not None
    assert int(found[1]) > 50


def test_bring_your_own_judgments(tmp_path: Path, monkeypatch, rng) -> None:
    block = next(block for block in BLOCKS if "similarity.load" in block)
    features = rng.random((30, 4))
    (tmp_path / "runs/mine").mkdir(parents=True)
    fit_similarity(features, uniform_triplets(30, 40, rng), rng=rng).save(tmp_path / "runs/mine/model.npz")
    monkeypatch.chdir(tmp_path)
    names = {"features": features}
    exec(compile(block, "README.md", "exec"), names)
    assert np.asarray(names["measures"]).shape == (30, 2)


@pytest.mark.parametrize(
    "path",
    sorted(set(re.findall(r"`((?:qdfeedback|tests|experiments|generators|diversity|feedback)/[\w./]+\.\w+)`", README))),
)
def test_every_file_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists() or (ROOT / "qdfeedback" / path).exists()


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_folder_of_the_package_is_in_the_tree() -> None:
    for path in (ROOT / "qdfeedback").iterdir():
        if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed"):
            assert path.name in README, path.name
