"""Where people's judgments meet texts: a judge calibrated to them, and axes learned from them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from domains.stories import STORIES
from experiments.writing import calibrate as calibrate_judge
from experiments.writing import qdaif as qdaif_writing
from experiments.writing import qdhf as qdhf_stories
from qdfeedback import cli, metrics
from qdfeedback.diversity import models
from qdfeedback.diversity.unsupervised import fit_pca
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import read_study
from qdfeedback.feedback.tables import judgments, trials
from qdfeedback.history import History
from tests.crowd import Crowd
from tests.models.faulty import Faulty, serving
from tests.stopping import killed_on_its_way
from tests.study.visitor import Form, Visitor, sealed, site
from tests.writing_test import poet

pytestmark = pytest.mark.xdist_group("texts")
NAMES = ("quality", "genre", "ending")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("texts") / "run"
    qdaif_writing.main(["--evaluations", "33", "--batch-size", "15", "--seeded", "15", "--run", str(run)])
    return run


def calibrate(run: Path, *arguments: str) -> dict:
    calibrate_judge.main(["--run", str(run), *arguments])
    return json.loads((run / "calibration.json").read_text())


def truth(run: Path) -> np.ndarray:
    return STORIES.truth([str(text) for text in History(run / "history.arrows", NAMES).sample("solution")])


def test_a_judge_is_held_against_people_who_know_the_truth(written: Path, capsys) -> None:
    for curve, kind in (("temperature", "Temperature"), ("shifted", "Temperature"), ("isotonic", "Isotonic")):
        found = calibrate(written, "--axis", "genre", "--simulated", "30", "--curve", curve)
        assert (found["curve"], found["texts"], found["answers"]) == (kind, 30, 90)
        assert 0 < found["error_after"] < 1
        assert 0 < found["coverage_after"] <= 100
    quality = calibrate(written, "--axis", "quality", "--simulated", "30")
    assert quality["coverage_after"] == quality["coverage_before"]  # the axes stay
    assert "neither line nor curve saw the text" in capsys.readouterr().out


def test_a_judge_is_calibrated_to_what_people_said_on_the_study_page(written: Path, tmp_path: Path) -> None:
    study, asked = tmp_path / "labels", ("--labels", "16", "--options", "horror", "romance", "--ratings", "16")
    cli.main(["study", "new", str(study), f"ours={written}", *asked])
    place, app = site(study)
    meant, true = sealed(place), truth(written)
    rows = {row["trial_id"]: row for row in place.database.rows(trials.select())}

    def choose(form: Form) -> str:
        row = rows[meant[form.fields["trial"]]]
        if row["expected"] is not None:
            return str(row["expected"])
        quality, horror, _ = true[int(row["a_id"].removeprefix("ours/"))]
        values = [value for _, value in form.buttons]
        if "horror" in values:
            return "horror" if horror > 0.5 else "romance"
        return values[min(int(quality * 5), 4)]

    Visitor(app).join().answer_all(choose)
    found = calibrate(written, "--study", str(study), "--source", "ours", "--axis", "genre")
    assert 10 <= found["texts"] <= found["answers"]
    assert found["error_after"] < 0.45  # below that of a coin, log 2
    ratings = calibrate(written, "--study", str(study), "--source", "ours", "--axis", "quality")
    assert ratings["curve"] == "Isotonic"
    assert ratings["error_after"] < 1.5
    with pytest.raises(ValueError, match="0 times a question with the label 'happy ending'"):
        calibrate(written, "--study", str(study), "--source", "ours", "--axis", "ending")
    with sqlite3.connect(tmp_path / "elsewhere.db") as other, sqlite3.connect(study / "judgments.db") as own:
        own.backup(other)
        other.execute("DELETE FROM judgments")
    elsewhere = ("--database", str(tmp_path / "elsewhere.db"))
    with pytest.raises(ValueError, match="0 texts have answers"):
        calibrate(written, "--study", str(study), *elsewhere, "--source", "ours", "--axis", "genre")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--axis", "genre", "--simulated", "6"), "6 texts have answers and a value: a curve that is tested needs 10"),
        (("--axis", "genre"), "name --study, or --simulated"),
        (("--axis", "colour", "--simulated", "5"), "--axis must be one of quality, genre, ending, got 'colour'"),
    ],
)
def test_what_cannot_be_calibrated_is_said(written: Path, arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibrate(written, *arguments)


# --- axes from people's judgments: sentence-transformers is an extra, and slow to load

TINY = ("--evaluations", "63", "--batch-size", "20", "--answers", "60", "--rounds", "2", "--cells", "5")


class Undecided(Crowd):
    """Says left or right by the trial's name."""

    def choice(self, row) -> str:
        return "left" if sum(map(ord, row["trial_id"])) % 2 else "right"


@pytest.mark.slow
def test_people_can_be_asked_about_stories_of_any_writer(tmp_path: Path, capsys) -> None:
    """Nobody knows the truth about these: a simulation says so at once, and after people's answers nothing needs it."""
    pytest.importorskip("sentence_transformers", reason='needs pip install "qdfeedback[embeddings]"')
    with serving(Faulty(text=poet, ignores=("logprobs", "response_format"))) as faulty:
        arguments = ("--writer", f"m@{faulty.url}", "--evaluations", "43", "--batch-size", "20", "--cells", "4")
        with pytest.raises(ValueError, match="nobody knows the truth about stories of m@http"):
            qdhf_stories.main([*arguments, "--answers", "8", "--rounds", "1", "--run", str(tmp_path / "simulated")])
        run = tmp_path / "people"
        crowd = Undecided(run)
        crowd.start()
        asked = ("--annotator", "study", "--answers", "40", "--rounds", "1")
        qdhf_stories.main([*arguments, *asked, "--run", str(run)])
        crowd.stopped.set()
        crowd.join()
    assert json.loads((run / "summary.json").read_text())["answers"] == 40
    assert "elites out of 43" in capsys.readouterr().out
    assert not read_study(run).live


def explained(run: Path) -> tuple[float, float]:
    """Returns the share of answers that the axes of a run explain, and that its principal components do."""
    store = Store(run / "judgments.db")
    rows = store.triplets(str(store.database.value(sa.select(judgments.c.study_id).limit(1)))).items
    names = ("quality", *(f"e{i}" for i in range(384)))
    items, local = np.unique(rows, return_inverse=True)
    points = History(run / "history.arrows", names).take(items, "features")[:, 1:]
    model = models.load(max((run / "models").glob("axes-*.npz")))
    right = [metrics.orders_right(one, points, local.reshape(-1, 3)) for one in (model, fit_pca(points, dim=2))]
    store.close()
    return float(right[0].mean()), float(right[1].mean())


@pytest.mark.slow
def test_axes_are_learned_and_a_killed_run_ends_as_one_that_was_not(tmp_path: Path, capsys) -> None:
    pytest.importorskip("sentence_transformers", reason='needs pip install "qdfeedback[embeddings]"')
    qdhf_stories.main([*TINY, "--run", str(tmp_path / "whole")])
    assert "The learned axes order stories as the truth does" in capsys.readouterr().out
    whole = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert (whole["evaluations"], whole["answers"]) == (63, 60)
    learned, components = explained(tmp_path / "whole")
    assert components < 0.65 < 0.75 < learned, "what was answered, which says little about other stories yet"
    assert (tmp_path / "whole" / "archive.png").stat().st_size > 10_000
    killed_on_its_way("experiments.writing.qdhf", TINY, tmp_path / "killed")
    qdhf_stories.main(["--run", str(tmp_path / "killed"), "--resume"])
    assert "elites out of 63" in capsys.readouterr().out
    killed = json.loads((tmp_path / "killed" / "summary.json").read_text())
    assert killed == pytest.approx(whole, rel=1e-4)
    qdhf_stories.main(["--run", str(tmp_path / "killed"), "--resume"])  # finished: nothing is run again
    assert "elites out of 63" in capsys.readouterr().out
