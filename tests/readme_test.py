"""What the README and the pages in docs show is run as it stands there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from qdfeedback.diversity.similarity import fit_similarity
from qdfeedback.feedback.queries import uniform_triplets

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
TEXT = "\n".join(PAGES.values())
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_it_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_a_problem_of_ones_own_is_the_experiment() -> None:
    block = next(block for block in BLOCKS if "run_command(" in block)
    script = (ROOT / "experiments/curves.py").read_text()
    made = [
        next(ast.dump(one) for one in ast.parse(code).body if isinstance(one, ast.Assign)) for code in (block, script)
    ]
    assert made[0] == made[1]


def test_the_loop_is_ones_own_and_its_run_can_be_read(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "readme"}
    for what in ("loop = qdhf(", "open_run("):
        block = next(block for block in BLOCKS if what in block).replace("evaluations=2000", "evaluations=1200")
        exec(compile(block, "README.md", "exec"), names)
    assert "10 " in capsys.readouterr().out
    assert names["summary"]["elites"] == len(names["elites"])
    assert len(names["history"]) == 1200
    assert len(names["answers"]) == 40


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
    sorted(set(re.findall(r"`((?:qdfeedback|tests|experiments|generators|diversity|feedback)/[\w./]+\.\w+)`", TEXT))),
)
def test_every_file_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists() or (ROOT / "qdfeedback" / path).exists()


def test_every_link_leads_somewhere() -> None:
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("https://") or (page.parent / target).exists(), (page.name, target)


def test_every_folder_of_the_package_is_in_the_tree() -> None:
    for path in (ROOT / "qdfeedback").iterdir():
        if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed"):
            assert path.name in PAGES[ROOT / "docs/layout.md"], path.name
