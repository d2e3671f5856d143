from __future__ import annotations

from pathlib import Path

import pytest

from experiments import qdhf_arm

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_shows_a_run(path: Path, tmp_path: Path, monkeypatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    run = tmp_path / "run"
    qdhf_arm.main(["--iterations", "12", "--batch-size", "20", "--judgments", "20", "--rounds", "2", "--run", str(run)])
    monkeypatch.setenv("QDF_RUN", str(run))
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    assert "def " not in "".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
