"""A search that asks people: what it publishes, how it waits, and that a stop and a resume change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from experiments.arm import qdhf as qdhf_arm
from experiments.arm import report as arm_report
from qdfeedback.diversity import models, similarity
from qdfeedback.feedback import people
from qdfeedback.feedback.left_out import LEFT_OUT, read_left_out
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import read_study
from qdfeedback.feedback.tables import items, trials
from qdfeedback.shown import Shown
from qdfeedback.study.analysis.run_models import NAME, run_probabilities
from qdfeedback.study.place import open_study
from tests.crowd import Crowd

TINY = ["--annotator", "study", "--evaluations", "480", "--batch-size", "20", "--answers", "24", "--rounds", "4"]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch) -> None:
    """They are tested elsewhere, and take longer than the searches here."""
    monkeypatch.setattr(arm_report, "_pictures", lambda *given: None)


def summary(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def test_the_search_waits_for_people_and_follows_them(tmp_path: Path) -> None:
    run = tmp_path / "r"
    crowd = Crowd(run)
    crowd.start()
    qdhf_arm.main([*TINY, "--run", str(run), "--wait-for", "24", "--refit-after", "2", "--checkpoint-every", "8"])
    crowd.stopped.set()
    crowd.join()
    found = summary(run)
    assert (found["answers"], found["annotator"]) == (24, "study")
    place = open_study(run)
    asked = place.database.rows(sa.select(trials).where(trials.c.kind == "main"))
    assert len(asked) == 24
    shown = Shown(run / "shown")
    for row in place.database.rows(sa.select(items)):
        assert shown.names()[int(row["item_id"])] == row["content"]
        assert shown.path(row["content"]).stat().st_size
    assert len(list((run / "models").glob("*.npz"))) >= 3
    before = run_probabilities(place)[NAME]
    assert 0 < len(before) < 24, "the first answers came before there was a model"
    place.database.close()


def test_without_waiting_the_search_goes_on_alone(tmp_path: Path) -> None:
    run = tmp_path / "r"
    qdhf_arm.main([*TINY, "--run", str(run)])
    found = summary(run)
    assert found["answers"] == 0
    assert found["judgment_accuracy"] is None
    assert found["elites"] > 50
    store = Store(run / "judgments.db")
    assert store.asked(read_study(run).study_id) == 24, "its questions stand there for whoever comes"
    store.close()


def test_a_search_stopped_while_it_waits_goes_on_with_the_same_questions(tmp_path: Path, monkeypatch) -> None:
    run = tmp_path / "r"

    def gone(store: Store, study: str, n: int) -> None:
        if store.asked(study) > 12:
            raise KeyboardInterrupt
        original(store, study, n)

    original = people.wait_for_answers
    crowd = Crowd(run)
    crowd.start()
    with monkeypatch.context() as patch:
        patch.setattr(people, "wait_for_answers", gone)
        with pytest.raises(KeyboardInterrupt):
            qdhf_arm.main([*TINY, "--run", str(run), "--wait-for", "24", "--refit-after", "2"])
    store = Store(run / "judgments.db")
    study = read_study(run).study_id
    before = [row["trial_id"] for row in store.database.rows(sa.select(trials).order_by(trials.c.number))]
    qdhf_arm.main(["--run", str(run), "--resume"])
    crowd.stopped.set()
    crowd.join()
    after = [row["trial_id"] for row in store.database.rows(sa.select(trials).order_by(trials.c.number))]
    assert after[: len(before)] == before
    assert store.asked(study) == 24
    assert summary(run)["answers"] == 24
    store.close()


def answer_in_turn(store: Store, study: str, n: int, *, who_answers: tuple[str, str] = ("crowd", "careless")) -> None:
    """Stands for waiting: two people answer what is open in turn; "careless" does not look."""
    done, crowd = store.answered(study), Crowd(Path(store.database.name).parent)
    rows = store.database.rows(sa.select(trials).where(trials.c.kind == "main").order_by(trials.c.number))
    for i, row in enumerate(rows):
        if row["trial_id"] not in done:
            who, side = who_answers[i % 2], "ab"[i // 2 % 2]
            said = {"choice": {"a": "left", "b": "right"}[side], "winner_id": row[f"{side}_id"]}
            store.append([crowd.answer(study, row) | (said if who == "careless" else {}) | {"annotator_id": who}])
    if not n:
        return
    for row in store.database.rows(sa.select(trials).where(trials.c.kind == "catch").limit(8)):
        for who in set(who_answers):
            side = "right" if who == "careless" else "left"
            caught = {"kind": "catch", "choice": side, "winner_id": row["b_id" if side == "right" else "a_id"]}
            store.append([crowd.answer(study, row) | caught | {"annotator_id": who}])


def test_a_search_learns_nothing_from_who_fails_the_catch_trials(tmp_path: Path, monkeypatch, capsys) -> None:
    """Nor does one that is stopped and goes on, which ends up where the other does."""
    arguments = [*TINY, "--wait-for", "24", "--refit-after", "2", "--evaluations", "100", "--no-present"]
    monkeypatch.setattr(people, "wait_for_answers", answer_in_turn)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    qdhf_arm.main([*arguments, "--run", str(whole)])
    said = capsys.readouterr().out
    assert said.count("the answers of careless do not count: 0 of 8 obvious trials right, 7 are wanted") == 1
    noted = read_left_out(whole / LEFT_OUT)
    assert len(noted) >= 3
    assert all(set(out) == {"careless"} for out in noted.values())
    store, study = Store(whole / "judgments.db"), read_study(whole).study_id
    counted = store.triplets(study, without=noted["axes-000005"])
    assert 0 < len(counted) < len(store.triplets(study)) == 24
    store.close()
    found = summary(whole)
    assert found["answers"] == len(counted)
    model = similarity.load(sorted((whole / "models").glob("*.npz"))[-1])
    assert model.note["triplets"] == len(counted)

    def killed(*given) -> None:
        if given[0].asked(given[1]) > 12:
            raise KeyboardInterrupt
        answer_in_turn(*given)

    monkeypatch.setattr(people, "wait_for_answers", killed)
    with pytest.raises(KeyboardInterrupt):
        qdhf_arm.main([*arguments, "--run", str(stopped)])
    monkeypatch.setattr(people, "wait_for_answers", answer_in_turn)
    qdhf_arm.main(["--run", str(stopped), "--resume"])
    assert (stopped / "archive.npz").read_bytes() == (whole / "archive.npz").read_bytes()
    assert read_left_out(stopped / LEFT_OUT) == noted


def test_axes_that_only_a_careless_person_taught_are_given_up(tmp_path: Path, monkeypatch) -> None:
    """At the first look nobody has seen a catch trial; at the next, what was learned turns out to be worth nothing."""

    def careless(store: Store, study: str, n: int) -> None:
        answer_in_turn(store, study, store.count(study), who_answers=("careless", "careless"))

    monkeypatch.setattr(people, "wait_for_answers", careless)
    run = tmp_path / "r"
    qdhf_arm.main(
        [*TINY, "--evaluations", "80", "--rounds", "2", "--wait-for", "24", "--no-present", "--run", str(run)]
    )
    kinds = [type(models.load(path)).__name__ for path in sorted((run / "models").glob("*.npz"))]
    assert kinds == ["Similarity", "Linear"]
    assert (summary(run)["answers"], summary(run)["judgment_accuracy"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--annotator", "study", "--method", "gt"], "one run of qdhf-active"),
        (["--annotator", "study", "--seed", "0", "1"], "one run of qdhf-active"),
        (["--wait-for", "5"], "needs --annotator study"),
        (["--refit-after", "1"], "must be at least 2"),
    ],
)
def test_what_cannot_be_asked_of_people(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        qdhf_arm.main(["--run", str(tmp_path / "r"), *arguments])
