from __future__ import annotations

from pathlib import Path

import pytest

from experiments import curves
from experiments.arm import qdhf as qdhf_arm
from experiments.images import qdhf as qdhf_images
from tests.images_test import TINY

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
ARM = ["--evaluations", "240", "--batch-size", "20", "--answers", "20", "--rounds", "2"]
CURVES = ["--evaluations", "240", "--batch-size", "20", "--answers", "20", "--rounds", "2"]
RUNS = {"any_run": (curves.main, CURVES), "arm_run": (qdhf_arm.main, ARM), "images_run": (qdhf_images.main, TINY)}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_shows_a_run(path: Path, tmp_path: Path, monkeypatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    main, arguments = RUNS[path.stem]
    main([*arguments, "--run", str(tmp_path / "run")])
    monkeypatch.setenv("QDF_RUN", str(tmp_path / "run"))
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    assert "def " not in "".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
