"""Whose answers count, for a report and for a search: by what people had answered up to a judgment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from qdfeedback.feedback.answers import read_answers
from qdfeedback.feedback.conduct import excluded, left_out, wanted
from qdfeedback.feedback.left_out import forget, last_before, read_left_out
from qdfeedback.feedback.refit_names import refit_name
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Question, Study
from qdfeedback.feedback.tables import empty, trials

STUDY = Study("s", (Question("alike", "triplet", "?"),), catch_per_rater=2, catch_pass=2, fast_ms=500)


@dataclass
class Asked:
    """A study of triplets, of which every fifth has an obvious answer, and the people who answer them in turn."""

    store: Store
    note: Path

    def answer(self, rater: str, main: str, catch: str, *, ms: float = 900.0, by: str = "person") -> int:
        """Takes in answers to main and catch trials (l: left, r: right, wrong in the latter); returns the last id."""
        for kind, sides in (("main", main), ("catch", catch)):
            for i, side in enumerate(sides):
                choice = {"l": "left", "r": "right"}[side]
                row = {"study_id": "s", "trial_id": f"{kind}/{i}", "task": "triplet", "kind": kind, "purpose": "random"}
                row |= {"anchor_id": "1", "left_id": "1" if kind == "catch" else "2", "right_id": "3", "choice": choice}
                row |= {"winner_id": row[f"{choice}_id"], "annotator_kind": by, "annotator_id": rater}
                self.store.append([row | {"response_ms": ms, "answered_utc": "2026-01-01"}])
        return self.store.last("s")

    def refit(self, number: int, until: int, study: Study = STUDY, part: str = "axes") -> set[str]:
        refit = refit_name(part, number)
        return set(left_out(self.store.database, study, until=until, refit=refit, noted=self.note))

    def raters(self, **which) -> list[int]:
        return self.store.triplets("s", **which).ids.tolist()


@pytest.fixture
def asked(tmp_path: Path):
    store = Store(tmp_path / "j.db")
    rows = [
        empty(trials) | {"study_id": "s", "trial_id": f"{kind}/{i}", "question": "alike", "task": "triplet",
                         "kind": kind, "purpose": kind, "anchor_id": "1", "a_id": "1" if kind == "catch" else "2",
                         "b_id": "3", "expected": "1" if kind == "catch" else None, "published_utc": ""}
        for kind, n in (("main", 40), ("catch", 4)) for i in range(n)
    ]  # fmt: skip
    store.add_trials([], rows)
    yield Asked(store, tmp_path / "left_out.json")
    store.close()


def test_who_fails_the_catch_trials_is_left_out_from_then_on(asked: Asked) -> None:
    careful = asked.answer("careful", "lrlr", "ll")
    early = asked.answer("careless", "lrl", "")
    late = asked.answer("careless", "", "rr")
    assert asked.refit(1, early) == set(), "so far there was nothing to say against anybody"
    assert asked.refit(2, late) == {"careless"}
    assert asked.refit(3, careful) == set()
    reasons = read_left_out(asked.note)["axes-000002"]["careless"]
    assert reasons == ("0 of 2 obvious trials right, 2 are wanted",)
    assert excluded(read_answers(asked.store.database, STUDY), STUDY) == {"careless": reasons}, "as in the report"
    assert asked.raters(without={"careless"}) == [1, 2, 3, 4]
    assert len(asked.raters()) == 7


def test_a_refit_that_is_repeated_leaves_out_the_same_people(asked: Asked) -> None:
    asked.answer("careful", "lrlr", "ll")
    until = asked.answer("careless", "lrl", "rr")
    first = asked.refit(5, until)
    before = asked.note.read_bytes()
    asked.answer("careful", "", "llrrrr"[2:])  # fails now, in the two catch trials that were left
    assert asked.refit(5, until) == first == {"careless"}
    assert asked.note.read_bytes() == before
    lenient = replace(STUDY, catch_pass=0)
    assert asked.refit(5, until, lenient) == {"careless"}, "what was noted stands, whatever the owner has edited"
    asked.note.unlink()
    assert asked.refit(5, until) == {"careless"}, "and it can be found again from the judgments up to then"
    assert asked.note.read_bytes() == before
    assert asked.refit(6, asked.store.last("s")) == {"careful", "careless"}
    assert set(last_before("axes-000006", asked.note)) == {"careless"}
    assert last_before("axes-000005", asked.note) == {}


def test_each_part_has_refits_of_its_own(asked: Asked) -> None:
    early = asked.answer("careless", "lrl", "")
    late = asked.answer("careless", "", "rr")
    assert asked.refit(7, early, part="quality") == set()
    assert asked.refit(7, late) == {"careless"}, "of the same iteration"
    assert asked.refit(1_000_000, late, part="quality") == {"careless"}
    assert asked.refit(7, late, part="quality") == set()
    assert list(read_left_out(asked.note)) == ["axes-000007", "quality-000007", "quality-1000000"]
    assert last_before("quality-000007", asked.note) == last_before("taste-000009", asked.note) == {}
    assert last_before("quality-1000000", asked.note) == {}
    assert (
        set(last_before("axes-000008", asked.note)) == set(last_before("quality-1000001", asked.note)) == {"careless"}
    )
    for name in ("axes", "axes-12", "axes-0000012", "a/b-000012", "-000012", "7e1"):
        with pytest.raises(ValueError, match="is no name of a refit, as 'axes-000101' is one"):
            last_before(name, asked.note)
    with pytest.raises(ValueError, match=r"part must be made of letters, digits, _ and -, got 'a/b'"):
        refit_name("a/b", 3)


def test_refits_that_have_a_number_alone_are_of_the_axes(asked: Asked) -> None:
    """As earlier versions noted them."""
    last = asked.answer("careless", "lr", "rr")
    asked.note.write_text('{"3": {"somebody": ["too fast"]}, "12": {}}')
    assert read_left_out(asked.note) == {"axes-000003": {"somebody": ("too fast",)}, "axes-000012": {}}
    assert last_before("axes-000004", asked.note) == {"somebody": ("too fast",)}
    assert last_before("quality-000004", asked.note) == {}
    assert asked.refit(3, last) == {"somebody"}, "what was noted stands"
    assert asked.refit(20, last) == {"careless"}
    assert list(read_left_out(asked.note)) == ["axes-000003", "axes-000012", "axes-000020"]


def test_speed_counts_too_and_models_are_not_judged(asked: Asked) -> None:
    asked.answer("fast", "lrlr", "ll", ms=100.0)
    asked.answer("same name", "lrlr", "", ms=100.0, by="model")
    last = asked.answer("same name", "", "rr")
    assert asked.refit(1, last) == {"fast", "same name"}
    assert asked.raters(without={"fast", "same name"}) == [7, 8, 9, 10], "the model of that name stays"
    assert asked.raters(people_without={"same name"}) == [1, 2, 3, 4]


def test_repeats_practice_and_catch_trials_never_train(asked: Asked) -> None:
    asked.answer("p", "lr", "ll")
    for kind in ("repeat", "practice", "surplus"):
        row = {"study_id": "s", "trial_id": "main/0", "task": "triplet", "kind": kind, "purpose": "random"}
        row |= {"anchor_id": "1", "left_id": "2", "right_id": "3", "choice": "right", "winner_id": "3"}
        asked.store.append([row | {"annotator_kind": "person", "annotator_id": "p", "answered_utc": "2026-01-01"}])
    assert asked.store.triplets("s").items.tolist() == [[1, 2, 3], [1, 3, 2]]
    assert asked.store.count("s") == 2


def test_a_person_who_is_erased_is_in_no_note(asked: Asked) -> None:
    last = asked.answer("careless", "lr", "rr")
    asked.refit(1, last)
    asked.refit(2, last)
    forget(asked.note, ["somebody"])
    assert asked.refit(2, last) == {"careless"}
    forget(asked.note, ["careless"])
    assert read_left_out(asked.note) == {"axes-000001": {}, "axes-000002": {}}
    assert "careless" not in asked.note.read_text()
    forget(asked.note.with_name("none.json"), ["careless"])
    assert not asked.note.with_name("none.json").exists()


@pytest.mark.parametrize("content", ["[]", '{"a": {}}', '{"1": []}', '{"1": {"p": 3}}', "{", '{"1": 2}'])
def test_a_note_that_is_none_is_one_line(asked: Asked, content: str) -> None:
    asked.note.write_text(content)
    with pytest.raises(ValueError, match=r"left_out\.json"):
        asked.refit(1, 0)


def test_the_share_of_catch_trials_wanted_is_rounded_up() -> None:
    study = replace(STUDY, catch_per_rater=8, catch_pass=7)
    assert [wanted(seen, study) for seen in (0, 1, 2, 7, 8, 16)] == [0, 1, 2, 7, 7, 14]
    assert wanted(25, replace(STUDY, catch_per_rater=25, catch_pass=7)) == 7, "7/25 of 25 is a little more than 7"
