"""The rules of a study at the desk, without pages: whose trial it is, what is kept, what is shown to whom."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from qdfeedback.feedback.tables import assignments, items, judgments, raters, trials
from qdfeedback.study.desk import Desk, NoAnswerError, Shown
from qdfeedback.study.erase import delete_rater
from qdfeedback.study.place import Place, open_study
from qdfeedback.study.register import CookieTakenError, Platform, Rater, Register, StudyFullError
from tests.study.plain import plain_study
from tests.study.small_study import small_study
from tests.study.visitor import KEY, Visitor, site

BARE: dict[str, Any] = {"practice": 0, "catch_per_rater": 0, "repeats": 0.0, "raters_per_trial": 1}


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Room:
    """A study, its desk, and a clock that tests can turn."""

    def __init__(self, place: Place) -> None:
        self.place, self.clock = place, Clock()
        self.register = Register(place.database, place.study, KEY, clock=self.clock)
        self.desk = Desk(self.register)

    def joined(self, name: str, *, filtered: bool | None = None) -> Rater:
        """Somebody who takes part; where a warning stands before it, after they have said what they want to see."""
        rater = self.register.join(Platform("link"), name * 32)
        return rater if filtered is None else self.register.warned(rater, filtered=filtered)

    def again(self, name: str) -> Rater:
        found = self.register.rater(name * 32)
        assert found
        return found

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        return [dict(row) for row in self.place.database.rows(sa.select(table))]

    def change(self, statement: Any) -> None:
        with self.place.database.writing() as connection:
            connection.execute(statement)

    def answer_all(self, name: str, choice: str = "left") -> list[Shown]:
        seen: list[Shown] = []
        while not isinstance(shown := self.desk.next(self.again(name)), str):
            assert len(seen) < 500, "there is no end"
            seen.append(shown)
            self.desk.answer(self.again(name), shown, choice, response_ms=None)
        return seen


@pytest.fixture
def room(tmp_path: Path) -> Callable[..., Room]:
    def make(n: int = 4, **rules: Any) -> Room:
        plain_study(tmp_path / "s", n, **(BARE | rules))
        return Room(open_study(tmp_path / "s"))

    return make


# --- what is shown to whom


@pytest.mark.parametrize("role", ["anchor_id", "a_id", "b_id"])
@pytest.mark.parametrize("kind", ["main", "catch", "practice"])
def test_nothing_that_is_marked_is_shown_to_who_does_not_want_it(room, role: str, kind: str) -> None:
    found = room(9, sensitive="Spiders.", practice=8, catch_per_rater=8, raters_per_trial=9)
    marked, trial = next((row[role], row["trial_id"]) for row in found.rows(trials) if row["kind"] == kind)
    found.change(sa.update(items).where(items.c.item_id == marked).values(sensitive=1))
    found.joined("a", filtered=True)
    seen = found.answer_all("a")
    assert len(seen) > 3
    assert not [one for one in seen if marked in (one.anchor, one.left, one.right)]
    found.joined("b", filtered=False)
    assert trial in [one.trial_id for one in found.answer_all("b")]


def test_what_somebody_has_answered_is_not_asked_of_them_again(room) -> None:
    """Answers can come from elsewhere: an import brings them without a plan."""
    found = room(4, raters_per_trial=3)
    rater = found.joined("a")
    shown = found.desk.next(rater)
    found.desk.answer(rater, shown, "left", response_ms=None)
    found.change(sa.delete(assignments))
    seen = [one.trial_id for one in found.answer_all("a")]
    assert sorted([*seen, shown.trial_id]) == ["t0", "t1", "t2", "t3"]


def test_what_is_hidden_from_somebody_is_what_they_have_not_answered(room) -> None:
    """Somebody who comes back is warned again, and may choose otherwise than the first time."""
    found = room(4, sensitive="Spiders.")
    rater = found.joined("a", filtered=False)
    shown = found.desk.next(rater)
    found.desk.answer(rater, shown, "left", response_ms=None)
    wary = replace(found.again("a"), filtered=True)
    found.desk.allotment.hide(wary)
    assert len(found.rows(assignments)) == 4, "nothing is marked"
    found.change(sa.update(items).values(sensitive=1))
    found.desk.allotment.hide(wary)
    assert [(row["trial_id"], row["answered"]) for row in found.rows(assignments)] == [(shown.trial_id, True)]
    assert found.desk.progress(wary) == (1, 1)


# --- whose it is


def test_nobody_takes_part_with_somebody_elses_cookie(room) -> None:
    found = room()
    mine = found.register.join(Platform("prolific", "one", "s"), "a" * 32)
    with pytest.raises(CookieTakenError):
        found.register.join(Platform("prolific", "two", "s"), "a" * 32)
    assert [row["rater_id"] for row in found.rows(raters)] == [mine.rater_id]
    other = found.register.join(Platform("prolific", "two", "s"), "b" * 32)
    with pytest.raises(CookieTakenError):
        found.register.returning(Platform("prolific", "one", "s"), "b" * 32)
    assert found.again("a").rater_id == mine.rater_id
    assert found.again("b").rater_id == other.rater_id


# --- what is kept


@pytest.mark.parametrize("gone", ["erased", "withdrawn", "done"])
@pytest.mark.parametrize("kind", ["practice", "main"])
def test_nothing_is_kept_of_who_is_gone(room, gone: str, kind: str) -> None:
    """A page that was open in another tab sends its form a moment later."""
    found = room(practice=2 if kind == "practice" else 0)
    rater = found.joined("a")
    shown = found.desk.next(rater)
    assert (shown.position < 0) == (kind == "practice")
    if gone == "erased":
        delete_rater(found.place.folder, found.place.database, found.place.study, rater.rater_id)
    else:
        found.register.enter(rater, gone)
    assert found.desk.answer(rater, shown, "left", response_ms=None) is False
    assert found.rows(judgments) == []


def test_an_answer_is_kept_for_the_trial_that_was_shown_alone(room) -> None:
    """At its place another one may stand meanwhile."""
    found = room(4)
    rater = found.joined("a")
    shown = found.desk.next(rater)
    planned = sa.update(assignments).where(assignments.c.position == shown.position)
    other = next(one for one in ("t0", "t1", "t2", "t3") if one != shown.trial_id)
    found.change(sa.delete(assignments).where(assignments.c.trial_id == other))
    found.change(planned.values(trial_id=other))
    assert found.desk.answer(rater, shown, "left", response_ms=None) is False
    assert found.rows(judgments) == []
    now = found.desk.next(found.again("a"))
    assert (now.position, now.trial_id) == (shown.position, other), "which is still to be answered"


def test_no_answer_is_taken_before_the_warning_was_read(tmp_path: Path) -> None:
    """A form can be sent without its page."""
    for kind in ("practice", "main"):
        practice = 2 if kind == "practice" else 0
        plain_study(tmp_path / kind, 4, **(BARE | {"sensitive": "Spiders.", "practice": practice}))
        place, app = site(tmp_path / kind)
        person = Visitor(app).join()
        register = Register(place.database, place.study, KEY)
        desk = Desk(register)
        rater = register.rater(person.client.cookies[next(iter(person.client.cookies))])
        desk.allotment.fill(rater)
        shown = desk.shown(rater, -1 if practice else 0)
        token = person.form("warning").fields["token"]
        sent = {
            "token": token,
            "position": str(shown.position),
            "trial": register.seal(shown.trial_id),
            "choice": "left",
        }
        assert person.client.post("/answer", data=sent).url.path == "/warning"
        assert place.database.rows(sa.select(judgments)) == []
        person.send("warning", see="all")
        person.client.post("/answer", data=sent)
        assert len(place.database.rows(sa.select(judgments))) == 1


# --- how long a person counts


def test_trials_are_held_while_somebody_is_there_and_no_longer(room) -> None:
    found = room(4)
    for name in "ab":
        found.joined(name)
    mine = found.desk.next(found.again("a"))
    found.clock.now += 29 * 60
    assert found.desk.next(found.again("b")) == "waiting"
    assert not found.desk.allotment.has_room()
    found.clock.now += 2 * 60
    assert found.desk.allotment.has_room()
    assert isinstance(found.desk.next(found.again("b")), Shown)
    assert found.desk.answer(found.again("a"), mine, "left", response_ms=None), "it is kept"
    assert [row["kind"] for row in found.rows(judgments)] == ["surplus"], "and does not count"


def test_who_was_away_keeps_what_nobody_took_meanwhile(room) -> None:
    """Where it stood in their order, and on its sides: some of it they may have seen."""
    found = room(4)
    away = found.joined("a")
    found.desk.next(away)
    planned = {(row["trial_id"], row["position"], row["swapped"]) for row in found.rows(assignments)}
    found.clock.now += 60 * found.place.study.lease_minutes + 1
    other = found.joined("b")
    taken = found.desk.next(other)
    found.desk.answer(other, taken, "left", response_ms=None)
    found.register.leave(found.again("b"))
    found.desk.next(found.again("a"))
    rows = [row for row in found.rows(assignments) if row["rater_id"] == away.rater_id]
    kept = {(row["trial_id"], row["position"], row["swapped"]) for row in rows}
    assert kept == {one for one in planned if one[0] != taken.trial_id}


def test_a_late_answer_counts_where_nobody_took_the_trial(room) -> None:
    found = room(4)
    found.joined("a")
    mine = found.desk.next(found.again("a"))
    found.clock.now += 31 * 60
    assert found.desk.answer(found.again("a"), mine, "left", response_ms=None)
    assert [row["kind"] for row in found.rows(judgments)] == ["main"]


def test_an_answer_counts_of_who_held_the_trial_though_others_came_before(room) -> None:
    """An import can bring answers to what is before somebody at the moment."""
    found = room(1)
    rater = found.joined("a")
    shown = found.desk.next(rater)
    row = found.desk._judgment(rater, shown, "right") | {"annotator_id": "elsewhere"}
    found.change(sa.insert(judgments).values(row))
    assert found.desk.answer(rater, shown, "left", response_ms=None)
    assert [row["kind"] for row in found.rows(judgments)] == ["main", "main"]


def test_a_lease_of_a_clock_that_went_back_is_over(room) -> None:
    found = room(4)
    rater = found.joined("a")
    found.desk.next(rater)
    for behind, there in ((60, True), (86_400, False)):
        found.change(sa.update(raters).values(active_until=found.register.lease() + behind))
        assert found.register.is_there(found.again("a").active_until) == there
        assert found.desk.allotment.has_room() != there


def test_a_lease_is_written_anew_now_and_then(room) -> None:
    found = room(4)
    found.desk.next(found.joined("a"))
    first = found.again("a").active_until
    for seconds, after in ((50, first), (20, first + 70)):
        found.clock.now += seconds
        found.desk.next(found.again("a"))
        assert found.again("a").active_until == after


def test_so_many_people_take_part_as_are_wanted(room) -> None:
    found = room(4, max_raters=2)
    one, _ = found.joined("a"), found.joined("b")
    assert found.register.places() == "taken"
    with pytest.raises(StudyFullError):
        found.joined("c")
    assert found.joined("a").rater_id == one.rater_id, "who is in already stays in"
    found.register.leave(one)
    assert found.register.places() == "free"
    found.joined("c")
    with pytest.raises(StudyFullError):
        found.joined("d")
    found.clock.now += 31 * 60
    found.joined("d")
    found.register.enter(found.again("d"), "done")
    found.register.enter(found.joined("e"), "done")
    found.clock.now += 31 * 60
    assert found.register.places() == "full"
    with pytest.raises(StudyFullError):
        found.joined("f")


def test_who_has_ended_stays_so(room) -> None:
    found = room(4)
    for name, stage in (("a", "done"), ("b", "withdrawn")):
        rater = found.register.enter(found.joined(name), stage)
        before = found.rows(raters)[-1]["finished_utc"]
        assert before
        for later in ("trials", "done", "withdrawn"):
            found.register.enter(rater, later)
        assert found.again(name).stage == stage
        assert found.rows(raters)[-1]["finished_utc"] == before
        assert found.desk.next(found.again(name)) == "done"


def test_a_pseudonym_is_of_a_study_a_platform_and_a_person(room) -> None:
    found = room()
    other = Register(found.place.database, replace(found.place.study, study_id="other"), KEY)
    key = Register(found.place.database, found.place.study, b"x" * 32)
    ways = [Platform("prolific", "p"), Platform("mturk", "p"), Platform("prolific", "q"), Platform("link")]
    names = [place.pseudonym(way, "a" * 32) for place in (found.register, other, key) for way in ways]
    assert len(set(names)) == 12
    assert all(len(name) == 16 for name in names)
    assert found.register.pseudonym(ways[0], "b" * 32) == names[0], "whatever the cookie"
    assert found.register.pseudonym(ways[3], "b" * 32) not in names
    assert len({found.register.form_token("a"), found.register.form_token("b"), other.form_token("a")}) == 3
    assert len({found.register.seal("a"), found.register.seal("b"), other.seal("a")}) == 3


def test_a_code_is_the_studys_or_a_persons_own(room) -> None:
    found = room()
    one, two = found.joined("a"), found.joined("b")
    codes = [found.register.completion_code(rater) for rater in (one, two, one)]
    assert codes[0] == codes[2] != codes[1]
    assert re.fullmatch("[0-9A-F]{8}", codes[0])
    assert one.rater_id[:8].upper() not in codes
    own = Register(found.place.database, replace(found.place.study, completion_code="C0DE"), KEY)
    assert own.completion_code(one) == "C0DE"


# --- what is stored of an answer


def test_an_answer_is_stored_as_it_was_given(tmp_path: Path) -> None:
    small = small_study(tmp_path / "s", questions=("better", "grade", "mood"))
    found = Room(open_study(small.folder))
    found.change(sa.delete(judgments))
    found.joined("a")
    by_id = {row["trial_id"]: row for row in found.rows(trials)}
    choices = {"better": "right", "grade": "3", "mood": "=happy"}
    while not isinstance(shown := found.desk.next(found.again("a")), str):
        found.desk.answer(found.again("a"), shown, choices[shown.question], response_ms=1_234.0)
        row, trial = found.rows(judgments)[-1], by_id[shown.trial_id]
        assert {row["left_id"], row["right_id"]} == {trial["a_id"], trial["b_id"]}
        told = ("question", "task", "kind", "purpose", "position", "response_ms", "anchor_id")
        assert {name: row[name] for name in told} == {
            "question": trial["question"], "task": trial["task"], "kind": shown.kind, "purpose": trial["purpose"],
            "position": shown.position, "response_ms": 1_234.0, "anchor_id": trial["anchor_id"],
        }  # fmt: skip
        assert row["annotator_id"] == found.again("a").rater_id
        assert row["annotator_kind"] == "person"
        given = {name: row[name] for name in ("choice", "winner_id", "value", "label")}
        assert given == {"choice": "right", "winner_id": None, "value": None, "label": None} | {
            "better": {"winner_id": shown.right}, "grade": {"choice": "value", "value": 3.0},
            "mood": {"choice": "label", "label": "=happy"},
        }[shown.question]  # fmt: skip
        assert row["answered_utc"] >= str(row["shown_utc"]) > "2020"
    kinds = [row["kind"] for row in found.rows(judgments)]
    assert (kinds.count("main"), kinds.count("catch"), kinds.count("repeat")) == (6, 1, 3)


@pytest.mark.parametrize(("choice", "winner"), [("left", "left"), ("right", "right"), ("tie", None), ("skip", None)])
def test_who_won_stands_on_the_side_that_was_chosen(tmp_path: Path, choice: str, winner: str | None) -> None:
    found = Room(open_study(small_study(tmp_path / "s", questions=("better",)).folder))
    found.change(sa.delete(judgments))
    found.joined("a")
    seen = found.answer_all("a", choice)
    for shown, row in zip(seen, found.rows(judgments), strict=True):
        assert row["choice"] == choice
        assert row["winner_id"] == (None if winner is None else getattr(shown, winner))
    first = {row["trial_id"]: row["a_id"] for row in found.rows(trials)}
    assert {shown.left == first[shown.trial_id] for shown in seen} == {True, False}


@pytest.mark.parametrize(("rules", "choice"), [({"skip": False}, "skip"), ({}, "tie"), ({}, "value"), ({}, "")])
def test_what_was_not_offered_is_no_answer(room, rules: dict[str, Any], choice: str) -> None:
    found = room(4, practice=2, **rules)
    rater = found.joined("a")
    for shown in (found.desk.next(rater), found.desk.shown(rater, -2)):
        with pytest.raises(NoAnswerError):
            found.desk.answer(rater, shown, choice, response_ms=None)
    assert found.rows(judgments) == []


def test_an_answer_stands(room) -> None:
    found = room(4, practice=1)
    rater = found.joined("a")
    for _ in range(2):
        shown = found.desk.next(rater)
        assert found.desk.given(rater, shown) is None
        assert found.desk.answer(rater, shown, "left", response_ms=None) is True
        assert found.desk.answer(rater, shown, "right", response_ms=None) is False
        assert found.desk.given(rater, shown) == "left"
        rater = found.again("a")
    assert [row["choice"] for row in found.rows(judgments)] == ["left", "left"]
    assert found.desk.progress(rater) == (1, 4)


def test_practice_shows_the_right_answer_on_either_side(room) -> None:
    found = room(4, practice=4)
    found.joined("a")
    practice = found.answer_all("a")[:4]
    assert [shown.position for shown in practice] == [-1, -2, -3, -4]
    assert [shown.left == shown.expected for shown in practice] == [True, False, True, False]


# --- which trial is next


def test_trials_with_the_fewest_answers_come_first(room) -> None:
    found = room(6, raters_per_trial=2, trials_per_rater=3)
    for name in "abc":
        found.joined(name)
    first = {shown.trial_id for shown in found.answer_all("a")}
    second = {shown.trial_id for shown in found.answer_all("b")}
    assert len(first) == len(second) == 3
    assert not first & second
    assert len(found.answer_all("c")) == 3
    answers = Counter(row["trial_id"] for row in found.rows(judgments))
    assert sorted(answers.values()) == [1, 1, 1, 2, 2, 2]


def test_each_person_has_an_order_of_their_own(room) -> None:
    found = room(12, raters_per_trial=9)
    orders = []
    for name in "abc":
        found.joined(name)
        orders.append([shown.trial_id for shown in found.answer_all(name)])
    assert {len(set(order)) for order in orders} == {12}
    assert len({tuple(order) for order in orders}) == 3


def test_a_live_study_hands_out_a_few_at_a_time(room) -> None:
    found = room(12, live=True, trials_per_rater=60)
    found.desk.next(found.joined("a"))
    assert sum(row["kind"] == "main" for row in found.rows(assignments)) == 3
    found.desk.next(found.joined("b"))
    assert sum(row["kind"] == "main" for row in found.rows(assignments)) == 6
    assert len({row["trial_id"] for row in found.rows(assignments)}) == 6


def test_who_has_little_to_do_meets_few_catch_trials(room) -> None:
    found = room(10, catch_per_rater=4, trials_per_rater=10)
    for name in "ab":
        found.joined(name)
    for _ in range(7):
        found.desk.answer(found.again("a"), main_of(found, "a"), "left", response_ms=None)
    found.clock.now += 31 * 60
    kinds = [shown.kind for shown in found.answer_all("b")]
    assert (kinds.count("main"), kinds.count("catch")) == (3, 2), "a catch trial for each 2.5 others, rounded up"


def main_of(found: Room, name: str) -> Shown:
    """The next main trial of somebody, whose catch trials are answered on the way."""
    while (shown := found.desk.next(found.again(name))).kind != "main":
        found.desk.answer(found.again(name), shown, "left", response_ms=None)
    return shown


def test_a_trial_has_room_while_an_answer_is_missing_that_nobody_gives(room) -> None:
    found = room(1, raters_per_trial=1)
    allotment, one, two = found.desk.allotment, found.joined("a"), found.joined("b")
    assert (allotment.has_room(), allotment.can_come_free()) == (True, True)
    shown = found.desk.next(one)
    assert (allotment.has_room(), allotment.can_come_free()) == (False, True), "somebody has it"
    with found.place.database.writing() as connection:
        assert not allotment.is_full(connection, one, shown.trial_id), "they themselves"
        assert allotment.is_full(connection, two, shown.trial_id)
    found.desk.answer(one, shown, "skip", response_ms=None)
    assert (allotment.has_room(), allotment.can_come_free()) == (True, True), "to skip is no answer"
    assert isinstance(found.desk.next(two), Shown)
    found.register.leave(two)
    assert (allotment.has_room(), allotment.can_come_free()) == (True, True), "who has left gives none"
    found.joined("c")
    found.answer_all("c")
    assert (allotment.has_room(), allotment.can_come_free()) == (False, False)


def test_answers_to_other_kinds_fill_no_trial(room) -> None:
    found = room(2, raters_per_trial=1, repeats=1.0, repeat_gap=0)
    found.joined("a")
    seen = found.answer_all("a")
    assert [shown.kind for shown in seen].count("repeat") == 2
    found.change(sa.delete(judgments).where(judgments.c.kind == "main"))
    assert found.desk.allotment.can_come_free()
    found.change(sa.update(judgments).values(kind="main", annotator_kind="model"))
    assert found.desk.allotment.can_come_free(), "nor do those of models"


def test_nobody_is_thanked_for_nothing(room) -> None:
    found = room(1)
    for name in "ab":
        found.joined(name)
    found.answer_all("a")
    assert found.desk.next(found.again("a")) == "done"
    assert found.desk.next(found.again("b")) == "waiting"
    assert found.again("b").stage == "trials"


def test_how_many_trials_there_are_at_most(room) -> None:
    found = room(4, catch_per_rater=900, repeats=0.5)
    catch = sum(row["kind"] == "catch" for row in found.rows(trials))
    assert found.desk.longest() == 4 + catch + 2
    live = Desk(Register(found.place.database, replace(found.place.study, live=True, trials_per_rater=60), KEY))
    assert live.longest() == 60 + 900 + 30
