"""What a study reads of run folders that somebody sent: other shapes are named with their file."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qdfeedback import files
from qdfeedback.feedback.store import candidate_of
from qdfeedback.run_settings import write_settings
from qdfeedback.shown import Shown
from qdfeedback.study.analysis import run_models
from qdfeedback.study.sources import read_sources

ELITES = {
    "id": np.arange(3), "objective": np.ones(3), "measures": np.zeros((3, 2)), "lower_bounds": np.zeros(2),
    "upper_bounds": np.ones(2),
}  # fmt: skip


def run_of(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    shown = Shown(folder / "shown")
    shown.note((i, shown.add(f"text {i}")) for i in range(3))
    files.write_atomic(folder / "archive.npz", files.pack(arrays, {}))
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": None}, "there is no 'id' in it"),
        ({"upper_bounds": None}, "there is no 'upper_bounds' in it"),
        ({"id": np.arange(3.0)}, "do not go together: float64"),
        ({"id": np.arange(6).reshape(3, 2)}, "do not go together"),
        ({"id": np.array("abc")}, "unsized"),
        ({"objective": np.ones(2)}, "do not go together"),
        ({"measures": np.zeros(3)}, "do not go together"),
        ({"measures": np.zeros((3, 3))}, "do not go together"),
        ({"lower_bounds": np.zeros((2, 2)), "measures": np.zeros((3, 2, 2))}, "must be one per axis"),
        ({"upper_bounds": np.ones(3)}, "must be one per axis"),
        ({"measures": np.ones((3, 2), complex)}, "must be numbers"),
        ({"objective": np.array(["a", "b", "c"])}, "must be numbers"),
    ],
    ids=str,
)
def test_an_archive_of_another_shape_is_named(tmp_path: Path, change: dict, said: str) -> None:
    assert len(read_sources(str(run_of(tmp_path / "good", ELITES)))[0]) == 3
    arrays = {name: array for name, array in (ELITES | change).items() if array is not None}
    with pytest.raises(ValueError, match=rf"archive\.npz is damaged or not one of ours: .*{said}"):
        read_sources(str(run_of(tmp_path / "bad", arrays)))


def test_lines_of_an_index_that_name_nothing_are_passed_over(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    name = shown.add("text")
    lines = [f"1,{name}", "²," + name, f"{'9' * 5000},{name}", "-1," + name, f"2,{name}x", "3", ",", f"4,{name}"]
    (tmp_path / "index.csv").write_bytes("\n".join(lines).encode() + b"\n\xff\xfe,5\n")
    assert Shown(tmp_path).names() == {1: name, 4: name}


@pytest.mark.parametrize(
    ("item", "candidate"),
    [("7", 7), ("0", 0), ("a/7", None), ("²", None), ("٣", None), ("9" * 18, 10**18 - 1), ("9" * 19, None),
     ("9" * 5000, None), ("-1", None), ("1.0", None), ("", None), (None, None)],
)  # fmt: skip
def test_what_is_the_number_of_a_candidate(item: str | None, candidate: int | None) -> None:
    assert candidate_of("", item) == candidate
    assert candidate_of("a", f"a/{item}") == candidate


def test_models_of_other_parts_are_no_axes(tmp_path: Path) -> None:
    (tmp_path / "refits.json").write_text(json.dumps({"quality-000001": 5}))
    write_settings(tmp_path, {"learned": ["reach"]})
    (tmp_path / "models").mkdir()
    for name in ("history.arrows", "models/quality-000001.npz"):
        (tmp_path / name).touch()
    assert run_models.run_probabilities(SimpleNamespace(folder=tmp_path, database=None, study=None)) == {}


@pytest.mark.parametrize(
    ("learned", "said"),
    [
        ("curl", "learned must be a list of strings, got the string 'curl'"), (5, "learned must be a list of strings"),
        ([["curl"]], "learned, number 1, must be a string"), (["reach", "curl"], "learned names 'curl', which is no f"),
    ],
    ids=str,
)  # fmt: skip
def test_columns_that_a_run_learned_from_are_a_list_of_its_features(tmp_path: Path, monkeypatch, learned, said) -> None:
    write_settings(tmp_path, {"learned": learned})
    (tmp_path / "refits.json").write_text(json.dumps({"axes-000001": 5}))
    (tmp_path / "models").mkdir()
    for name in ("history.arrows", "models/axes-000001.npz"):
        (tmp_path / name).touch()
    monkeypatch.setattr(run_models, "read_history", lambda _: SimpleNamespace(names=("reach", "bend")))
    monkeypatch.setattr(run_models, "published", lambda *_: [])
    monkeypatch.setattr(run_models, "_first_answers", lambda _: {})
    place = SimpleNamespace(folder=tmp_path, database=None, study=None)
    with pytest.raises(ValueError, match=rf"settings\.json: {said}"):
        run_models.run_probabilities(place)
