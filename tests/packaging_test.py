"""The wheel, installed away from the repository, works without it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_wheel_works_without_the_repository(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"qdfeedback"}
    assert "qdfeedback/py.typed" in names
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    code = (
        "import numpy as np, qdfeedback; from qdfeedback.diversity.similarity import fit_similarity\n"
        "from qdfeedback import search, runs, viz, metrics\n"
        "from qdfeedback.feedback.queries import uniform_triplets\n"
        "rng = np.random.default_rng(0); f = rng.random((20, 3))\n"
        "print(qdfeedback.__file__, fit_similarity(f, uniform_triplets(20, 30, rng), rng=rng).project(f).shape)"
    )
    isolated = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(target)!r})\n{code}"]
    out = subprocess.run(isolated, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert out.startswith(str(target))
    assert out.strip().endswith("(20, 2)")
