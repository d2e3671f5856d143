from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from qdfeedback.feedback.annotators import Simulated
from qdfeedback.feedback.queries import ask
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.tables import judgments
from qdfeedback.types import Answers, Queries
from tests.processes import context


def queries(n: int, batch: str = "b") -> Queries:
    rows = np.stack([np.arange(n), np.arange(n) + 100, np.arange(n) + 200], axis=1)
    queries = ask(rows, np.arange(1000), np.where(np.arange(n) % 2, "bald", "random"), batch=batch, shown=rows)
    return Queries(np.array([uid.split("-")[0] for uid in queries.uids]), queries.items, queries.purpose)


def questions(task: str, n: int, width: int) -> Queries:
    rows = np.arange(n * width).reshape(n, width)
    return ask(rows, np.arange(n * width), np.full(n, "random"), batch=task, shown=rows, task=task)


def answers(choice: list[int]) -> Answers:
    return Answers(np.arange(len(choice)), np.array(choice), np.full(len(choice), np.nan))


def nowhere(ids: np.ndarray) -> np.ndarray:
    return np.zeros((len(ids), 1))


ME = Simulated(truth=nowhere)


def test_judgments_come_back_in_order_with_ties_left_out(where: str) -> None:
    store = Store(where)
    study = os.urandom(4).hex()
    assert store.triplets(study).items.shape == (0, 3)
    assert store.last(study) == 0
    assert store.add(study, queries(4), answers([0, 1, -1, 1]), ME) == 4
    found = store.triplets(study)
    assert found.items.tolist() == [[0, 100, 200], [1, 201, 101], [3, 203, 103]]
    assert found.purpose.tolist() == ["random", "bald", "bald"]
    assert (np.diff(found.ids) > 0).all()
    assert store.answered(study) == {"b/0", "b/1", "b/2", "b/3"}
    records = store.records(study)
    assert [record["choice"] for record in records] == ["left", "right", "tie", "right"]
    assert records[2]["winner_id"] is None
    assert {record["annotator_kind"] for record in records} == {"simulation"}
    store.close()


def test_an_answer_handed_in_twice_counts_once(where: str) -> None:
    store, study = Store(where), os.urandom(4).hex()
    store.add(study, queries(3), answers([0, 1, 0]), ME)
    assert store.add(study, queries(3), answers([1, 0, 1]), ME) == 0
    assert store.triplets(study).items[0].tolist() == [0, 100, 200], "the first answer stands"
    other = Simulated(truth=nowhere, seed=1)
    assert store.add(study, queries(3), answers([1, 0, 1]), other) == 3
    store.close()


def test_a_refit_can_be_repeated(where: str) -> None:
    store, study = Store(where), os.urandom(4).hex()
    store.add(study, queries(3), answers([0, 1, 0]), ME)
    until = store.last(study)
    store.add(study, queries(3, "later"), answers([0, 1, 0]), ME)
    assert len(store.triplets(study, until=until)) == 3
    assert len(store.triplets(study)) == 6
    store.close()


def test_probabilities_are_kept(where: str) -> None:
    store, study = Store(where), os.urandom(4).hex()
    store.add(study, queries(2), Answers(np.arange(2), np.array([0, 1]), np.array([0.25, np.nan])), ME)
    assert [record["probability"] for record in store.records(study)] == [0.25, None]
    store.close()


def _write(job: tuple[str, str, int]) -> int:
    where, study, worker = job
    store = Store(where)
    annotator = Simulated(truth=nowhere, seed=worker)
    new = sum(store.add(study, queries(5, f"{i}"), answers([0, 1, 0, 1, 0]), annotator) for i in range(20))
    store.close()
    return new


@pytest.mark.xdist_group("processes")
def test_several_processes_write_at_once(where: str) -> None:
    """Four writers, two of them the same annotator: nothing is lost and nothing doubled."""
    study = os.urandom(4).hex()
    with ProcessPoolExecutor(4, mp_context=context()) as pool:
        written = list(pool.map(_write, [(where, study, worker) for worker in (0, 1, 2, 2)]))
    store = Store(where)
    assert len(store.records(study)) == 300
    assert written[0] == written[1] == written[2] + written[3] == 100
    store.close()


def test_bad_answers_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "j.db")
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\), it reaches 1"):
        store.add("s", queries(1), answers([0, 0]), ME)
    with pytest.raises(ValueError, match="must be 0"):
        store.add("s", queries(1), answers([5]), ME)
    assert store.append([]) == 0


def test_an_id_is_never_given_again(where: str) -> None:
    store = Store(where)
    study = os.urandom(4).hex()
    store.add(study, queries(3), answers([0, 1, 0]), ME)
    last = store.last(study)
    with store.database.writing() as connection:
        connection.execute(sa.delete(judgments).where(judgments.c.id == last))
    store.add(study, queries(3, "later"), answers([0, 1, 0]), ME)
    known, all_ = (store.triplets(study, until=until).ids.tolist() for until in (last, None))
    assert known == all_[:2], "a model that was trained up to the one that is gone has not seen the new ones"
    store.close()


def test_triplets_of_one_of_several_runs(tmp_path: Path) -> None:
    store = Store(tmp_path / "judgments.db")
    sides = [("ours/3", "ours/1", "ours/2"), ("ours/3", "ours/1", "theirs/2"), ("ours/7", "ours/6", "ours/5")]
    for i, (anchor, left, right) in enumerate(sides):
        row = {"study_id": "s", "trial_id": str(i), "task": "triplet", "kind": "main", "purpose": "random"}
        row |= {"anchor_id": anchor, "left_id": left, "right_id": right, "choice": "left", "winner_id": left}
        store.append([row | {"annotator_kind": "person", "annotator_id": "p", "answered_utc": "2026-01-01"}])
    assert store.triplets("s", source="ours").items.tolist() == [[3, 1, 2], [7, 6, 5]]


def test_only_answers_to_main_questions_train(tmp_path: Path) -> None:
    """Practice, obvious trials and repeats were asked for another reason, and ties decide nothing."""
    store = Store(tmp_path / "judgments.db")
    kinds = ("practice", "catch", "main", "repeat", "surplus", "main")
    for i, kind in enumerate(kinds):
        row = {"study_id": "s", "trial_id": str(i), "task": "triplet", "kind": kind, "purpose": "random"}
        row |= {"anchor_id": str(i), "left_id": "7", "right_id": "8", "winner_id": None if i == 5 else "7"}
        row |= {"choice": "tie" if i == 5 else "left", "annotator_kind": "person", "annotator_id": "p"}
        store.append([row | {"answered_utc": "2026-01-01"}])
    assert store.triplets("s").items.tolist() == [[2, 7, 8]]


def test_triplets_of_people_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "judgments.db")
    for i, (kind, who) in enumerate([("person", "p"), ("person", "careless"), ("simulation", "s")]):
        row = {"study_id": "s", "trial_id": str(i), "task": "triplet", "kind": "main", "purpose": "random"}
        row |= {"anchor_id": str(i), "left_id": "4", "right_id": "5", "choice": "left", "winner_id": "4"}
        store.append([row | {"annotator_kind": kind, "annotator_id": who, "answered_utc": "2026-01-01"}])
    assert len(store.triplets("s")) == 3
    assert store.triplets("s", people_without=()).items[:, 0].tolist() == [0, 1]
    assert store.triplets("s", people_without=("careless",)).items.tolist() == [[0, 4, 5]]
    assert store.triplets("s", without=("careless", "s")).items[:, 0].tolist() == [0, 2], "a person was called careless"


def test_pairs_come_back_as_better_and_worse(where: str) -> None:
    store, study = Store(where), os.urandom(4).hex()
    assert store.judged(study, "pair").items.shape == (0, 2)
    pairs = questions("pair", 3, 2)
    assert store.add(study, pairs, answers([0, 1, -1]), ME) == 3
    assert store.add(study, queries(2), answers([0, 1]), ME) == 2
    found = store.judged(study, "pair")
    assert found.items.tolist() == [[0, 1], [3, 2]]
    assert found.purpose.tolist() == ["random"] * 2
    assert np.isnan(found.value).all()
    assert store.judged(study, "triplet").items.tolist() == store.triplets(study).items.tolist()
    assert len(store.triplets(study)) == 2, "each task by itself"
    assert [row["anchor_id"] for row in store.records(study)[:3]] == [None] * 3
    assert store.count(study) == 5
    store.close()


def test_ratings_come_back_with_their_values(where: str) -> None:
    store, study = Store(where), os.urandom(4).hex()
    assert store.judged(study, "rating").items.shape == (0, 1)
    said = Answers(np.array([0, 2]), np.zeros(2), np.full(2, np.nan), np.array([0.25, -3.0]))
    assert store.add(study, questions("rating", 3, 1), said, ME) == 2
    found = store.judged(study, "rating")
    assert found.items.tolist() == [[0], [2]]
    assert found.value.tolist() == [0.25, -3.0]
    assert len(found.ids) == len(found) == 2
    records = store.records(study)
    assert [(row["choice"], row["value"], row["winner_id"], row["right_id"]) for row in records] == [
        ("value", 0.25, None, None), ("value", -3.0, None, None),
    ]  # fmt: skip
    skipped = {"study_id": study, "trial_id": "x", "task": "rating", "kind": "main", "purpose": "random"}
    skipped |= {"left_id": "4", "choice": "skip", "annotator_kind": "person", "annotator_id": "p"}
    store.append([skipped | {"answered_utc": "2026-01-01"}])
    assert len(store.judged(study, "rating")) == 2
    nothing = Answers(np.empty(0, dtype=int), np.empty(0), np.empty(0))
    assert store.add(study, questions("rating", 3, 1), nothing, ME) == 0
    for value in (None, np.array([1.0]), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match=r"answers\.value must be 2 finite ratings"):
            store.add(study, questions("rating", 3, 1), replace(said, value=value), ME)
    store.close()


def test_judgments_of_one_question_and_those_that_name_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "judgments.db")
    for i, question in enumerate(["nicer", None, "bolder", "nicer"]):
        row = {"study_id": "s", "trial_id": str(i), "task": "pair", "kind": "main", "purpose": "random"}
        row |= {"left_id": str(i), "right_id": "9", "choice": "right", "winner_id": "9", "question": question}
        store.append([row | {"annotator_kind": "person", "annotator_id": "p", "answered_utc": "2026-01-01"}])
    losers = {name: store.judged("s", "pair", question=name).items[:, 1].tolist() for name in ("nicer", "bolder", None)}
    assert losers == {"nicer": [0, 1, 3], "bolder": [1, 2], None: [0, 1, 2, 3]}
    assert store.judged("s", "pair", question="nicer", until=2).items.tolist() == [[9, 0], [9, 1]]
    assert len(store.judged("s", "pair", without=["p"])) == 0
    with pytest.raises(ValueError, match=r"task must be one of .*, got 'label'"):
        store.judged("s", "label")


@pytest.mark.parametrize(("task", "width"), [("pair", 2), ("rating", 1)])
def test_what_has_an_answer_is_not_asked_again_whatever_the_task(tmp_path: Path, task: str, width: int) -> None:
    store = Store(tmp_path / "judgments.db")
    store.ask("s", questions(task, 2, width), ME)
    store.ask("s", questions(task, 4, width), ME)
    assert len(store.judged("s", task)) == 4
    assert store.answered("s") == set(questions(task, 4, width).uids)


def test_only_what_has_no_answer_is_asked(tmp_path: Path) -> None:
    """A run that goes on asks again: models cost money, and a person is not asked twice."""

    class Asked:
        kind, name = "model", "m"

        def answer(self, queries: Queries) -> Answers:
            asked.append((queries.uids.tolist(), queries.purpose.tolist(), queries.items.tolist()))
            return answers([-1] * len(queries))

    asked: list = []
    store = Store(tmp_path / "judgments.db")
    store.add("s", queries(4).where(np.array([1, 3])), answers([0, -1]), ME)
    for _ in range(2):
        store.ask("s", queries(4), Asked())
    assert asked == [(["b/0", "b/2"], ["random", "random"], queries(4).items[[0, 2]].tolist())]
    assert [row["trial_id"] for row in store.records("s")] == ["b/1", "b/3", "b/0", "b/2"]
    store.ask("other study", queries(1), Asked())
    assert len(asked) == 2


def test_a_path_may_look_like_a_part_of_a_url(tmp_path: Path) -> None:
    for name in ("a?b", "a%41b", "a#b"):
        (tmp_path / name).mkdir()
        Store(tmp_path / name / "judgments.db").close()
        assert (tmp_path / name / "judgments.db").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a#b", "a%41b", "a?b"]


def test_a_place_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "j.db").write_bytes(b"this is not a database, it only has its name" * 100)
    with pytest.raises(ValueError, match=r"cannot open the judgment store .*j\.db"):
        Store(tmp_path / "j.db")
    with pytest.raises(ValueError, match=r"\*\*\*"):
        Store("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    with pytest.raises(ValueError, match="use SQLite or PostgreSQL"):
        Store("mysql://127.0.0.1/none")
    with pytest.raises(ValueError, match="needs a file path or a database URL"):
        Store("nonsense://127.0.0.1/none")


def test_a_store_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """As on a full disk: the database says no in the middle of the work."""
    store = Store(tmp_path / "j.db")
    sa.event.listen(
        store.database.engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA query_only = 1")
    )
    with pytest.raises(OSError, match=r"cannot write judgments to .*j\.db: .*readonly"):
        store.add("s", queries(1), answers([0]), ME)


def test_only_answers_to_main_questions_release_who_waits(where: str) -> None:
    """People practise first: a search that went on with that would learn from nothing."""
    store, study = Store(where), os.urandom(4).hex()
    row = {"study_id": study, "task": "triplet", "purpose": "random", "left_id": "1", "right_id": "2"}
    row |= {"choice": "left", "annotator_kind": "person", "annotator_id": "p", "answered_utc": "2026-01-01"}
    kinds = iter(["practice", "catch", "repeat", "surplus", "main"])
    looks: list[int] = []

    def tell(found: int) -> None:
        looks.append(found)
        kind = next(kinds, None)
        if kind is not None:
            store.append([row | {"kind": kind, "trial_id": kind}])

    store.wait(study, 1, tell=tell, every=0.0)
    assert looks == [0, 0, 0, 0, 0, 1]
    store.close()
