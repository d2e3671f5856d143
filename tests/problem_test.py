"""A problem of one's own: from a domain, an encoder and some names to a search that learns its axes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.curves import Curves, Descriptors
from experiments.curves import CURVES
from qdfeedback import claims, files, metrics, problem
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import read_study
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.recorded import record
from qdfeedback.models.scripted import Scripted
from qdfeedback.problem import Args, Problem, qdhf, run_command
from qdfeedback.types import Placement, Proposal
from tests.crowd import Crowd
from tests.stopping import stopped_in

SMALL = ["--evaluations", "800", "--batch-size", "40", "--answers", "24", "--rounds", "3", "--cells", "8"]
ROOT = Path(__file__).resolve().parents[1]


def small(run: Path, **more: Any) -> Args:
    given: dict[str, Any] = {"evaluations": 800, "batch_size": 40, "answers": 24, "rounds": 3, "cells": 8} | more
    return Args(run=run, **given)


def run_command_on_curves(*arguments: str | Path) -> None:
    run_command(CURVES, None, [str(one) for one in arguments])


class Words:
    """Texts of two letters."""

    def initial(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.array(["".join(rng.choice(["a", "b"], size=rng.integers(1, 9))) for _ in range(n)])

    def render(self, solutions, seeds):
        return [str(one) for one in solutions], [None] * len(solutions)

    def present(self, artifact: str) -> str:
        return artifact


class Counts:
    """How many of each letter."""

    names = ("a", "b", "length")

    def encode(self, artifacts) -> np.ndarray:
        return np.array([[one.count("a"), one.count("b"), len(one)] for one in artifacts], dtype=float)


class Longer:
    """Elites with a letter more."""

    def ask(self, placement: Placement, n: int, rng: np.random.Generator) -> Proposal:
        found = placement.resolved(rng.choice(placement.archive.data("id"), size=n))
        made = np.array([f"{one}{rng.choice(['a', 'b'])}"[-12:] for one in found])
        return Proposal(made, np.empty((n, 0), dtype=np.int64), np.full(n, "longer"))

    def tell(self, proposal, outcome) -> None:
        pass


WORDS = Problem(Words(), Counts(), quality="length", learned=("a", "b"), generator=Longer(), unit="word")


def test_a_problem_of_ones_own_in_twenty_lines(tmp_path: Path) -> None:
    lines = (ROOT / "experiments/curves.py").read_text().splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 120
    run_command_on_curves(*SMALL, "--run", tmp_path / "r")
    summary = files.read_json(tmp_path / "r/summary.json")
    assert summary["answers"] == 24
    assert set(summary["linear_r2"]) == {"roundness", "elongation"}
    for name in ("archive.png", "elites.png"):
        assert (tmp_path / "r" / name).stat().st_size > 5000
    with (tmp_path / "r/elites.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == summary["elites"]
    assert list(rows[0]) == ["id", "objective", "axis 1", "axis 2", "roundness", "elongation", "shown"]
    with (tmp_path / "r/curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    fixed = [float(row["qd_score_fixed"]) for row in rows]
    assert fixed == sorted(fixed), "in one space a score cannot fall"
    assert fixed[-1] == pytest.approx(summary["qd_score"])


def test_the_loop_is_visible_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    whole = qdhf(CURVES, small(tmp_path / "whole"), quiet=True)
    assert [batch.iteration for batch in whole] == list(range(1, 20))
    whole.finish()
    for number, iteration in enumerate((3, 9, 17)):
        with stopped_in(iteration):
            qdhf(CURVES, small(tmp_path / "r", resume=number > 0), quiet=True).complete()
        claims.release(tmp_path / "r")
    again = qdhf(CURVES, small(tmp_path / "r", resume=True), quiet=True).complete()
    assert again | {"seconds": 0} == files.read_json(tmp_path / "whole/summary.json") | {"seconds": 0}
    assert (tmp_path / "r/archive.npz").read_bytes() == (tmp_path / "whole/archive.npz").read_bytes()


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    args = small(tmp_path / "r")
    summary = problem.run_one(CURVES, args)
    assert problem.run_one(CURVES, replace(args, resume=True)) == summary


@pytest.mark.slow
def test_five_seeds_find_what_is_hidden(tmp_path: Path) -> None:
    run_command_on_curves("--seed", *map(str, range(5)), "--run", tmp_path)
    found = [files.read_json(path)["linear_r2"] for path in tmp_path.glob("seed-*/summary.json")]
    assert len(found) == 5
    assert np.mean([one["roundness"] for one in found]) >= 0.92
    assert np.mean([one["elongation"] for one in found]) >= 0.85


def test_people_answer_on_the_study_page(tmp_path: Path) -> None:
    run = tmp_path / "r"
    crowd = Crowd(run, Descriptors.names, ("roundness", "elongation"))
    crowd.start()
    run_command_on_curves(*SMALL, "--annotator", "study", "--wait-for", "24", "--run", run)
    crowd.stopped.set()
    crowd.join()
    assert files.read_json(run / "summary.json")["answers"] == 24
    study = read_study(run)
    assert not study.live, "the search is over"
    assert study.questions[0].text == CURVES.text


def test_a_model_answers_about_texts(tmp_path: Path, monkeypatch) -> None:
    """It finds alike what begins with the same letter, and answers with the number of the text."""

    def judge(prompt: str, options) -> list[float]:
        texts = [part.split("<text>\n")[1].split("\n</text>")[0] for part in prompt.split("Text ")[1:]]
        same = [text[:1] == texts[0][:1] for text in texts[1:]]
        return [0.9, 0.1] if same[0] and not same[1] else [0.1, 0.9] if same[1] and not same[0] else [0.5, 0.5]

    model = Scripted(lambda prompt, seed: "", judge)
    monkeypatch.setattr(problem, "open_model", lambda where, ledger, how: record(model, Ledger(tmp_path / "l.db")))
    args = small(tmp_path / "r", annotator="a-model", evaluations=400)
    summary = qdhf(WORDS, args, quiet=True).complete()
    assert summary["answers"] >= 8  # of some it says nothing
    store = Store(tmp_path / "r/judgments.db", create=False)
    assert {row["annotator_id"] for row in store.records(read_name(tmp_path / "r"))} == {"scripted"}
    store.close()
    with (tmp_path / "r/elites.csv").open() as file:
        assert set("".join(row["shown"] for row in csv.DictReader(file))) == {"a", "b"}


def read_name(run: Path) -> str:
    return str(files.read_json(run / "settings.json")["settings"]["study"])


def test_axes_of_an_earlier_run_or_from_a_file(tmp_path: Path) -> None:
    problem.run_one(CURVES, small(tmp_path / "first"))
    last = sorted((tmp_path / "first/models").glob("axes-*.npz"))[-1]
    for name, axes in (("run", tmp_path / "first"), ("file", last)):
        summary = problem.run_one(CURVES, small(tmp_path / name, axes=axes, seed=(1,)))
        assert summary["answers"] == 0
        assert summary["coverage"] > 10
    assert (tmp_path / "run/archive.npz").read_bytes() == (tmp_path / "file/archive.npz").read_bytes()
    with stopped_in(9):
        problem.run_one(CURVES, small(tmp_path / "cut", axes=last, seed=(1,)))
    claims.release(tmp_path / "cut")
    last.unlink()  # the run has it
    problem.run_one(CURVES, small(tmp_path / "cut", resume=True))
    assert (tmp_path / "cut/archive.npz").read_bytes() == (tmp_path / "file/archive.npz").read_bytes()


def test_axes_that_read_other_columns_are_refused(tmp_path: Path) -> None:
    problem.run_one(CURVES, small(tmp_path / "first"))
    other = replace(CURVES, learned=("radius_*",))
    with pytest.raises(ValueError, match="read other columns"):
        problem.run_one(other, small(tmp_path / "r", axes=tmp_path / "first"))
    assert not (tmp_path / "r").exists()
    with pytest.raises(ValueError, match="read 30 columns, here 8"):
        problem.run_one(other, small(tmp_path / "r", axes=next((tmp_path / "first/models").glob("axes-*.npz"))))
    with pytest.raises(ValueError, match="there are no axes in"):
        problem.run_one(other, small(tmp_path / "r", axes=tmp_path / "nothing.npz"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"quality": "beauty"}, "must be one of"),
        ({"truth": ("soul",)}, "must be one of"),
        ({"learned": ("size_*",)}, "no column of .* is called 'size_"),
        ({"learned": "radius_0"}, "learned"),
    ],
)
def test_names_that_no_column_has_are_refused(change: dict, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        replace(CURVES, **change)


def test_what_cannot_work_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no true columns"):
        qdhf(replace(CURVES, truth=()), small(tmp_path / "r"))
    with pytest.raises(ValueError, match="must be above --batch-size"):
        qdhf(CURVES, small(tmp_path / "r", evaluations=40))
    with pytest.raises(ValueError, match="one run at a time"):
        qdhf(CURVES, small(tmp_path / "r", annotator="study", seed=(0, 1)))
    with pytest.raises(ValueError, match="no vectors: say how they vary"):
        qdhf(replace(WORDS, generator=None, truth=("a",)), small(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_learned_columns_are_all_but_those_of_quality_and_truth() -> None:
    assert [CURVES.names[i] for i in CURVES.columns] == list(Descriptors.names[:30])
    assert len(replace(CURVES, learned=("radius_*", "turn_0")).columns) == 9


def test_curves_are_what_their_parameters_say(rng) -> None:
    solutions = Curves().initial(50, rng)
    points, errors = Curves().render(solutions, np.arange(50))
    assert np.asarray(points).shape == (50, 200, 2)
    assert errors == [None] * 50
    features = dict(zip(Descriptors.names, Descriptors().encode(points).T, strict=True))
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)[None]
    round_one = dict(zip(Descriptors.names, Descriptors().encode(circle)[0], strict=True))
    assert round_one["roundness"] == pytest.approx(1, abs=1e-3)
    assert round_one["elongation"] == pytest.approx(1, abs=1e-6)
    assert (features["roundness"] < 1).all()
    assert Curves().present(points[0]).shape == (128, 128, 3)


def test_linear_r2(rng) -> None:
    measures = rng.normal(size=(200, 2))
    truth = measures @ [1.0, -2.0] + 3
    assert metrics.linear_r2(measures, truth) == pytest.approx(1)
    assert metrics.linear_r2(measures, rng.normal(size=200)) < 0.1
    assert np.isnan(metrics.linear_r2(measures, np.ones(200)))
    truth[::2] = np.nan
    assert metrics.linear_r2(measures, truth) == pytest.approx(1)
