"""The rules of a study at the desk, without pages: whose trial it is, what is kept, what is shown to whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from qdfeedback.feedback.tables import assignments, items, judgments, raters, trials
from qdfeedback.study.desk import Desk, Shown
from qdfeedback.study.erase import delete_rater
from qdfeedback.study.place import Place, open_study
from qdfeedback.study.register import CookieTakenError, Platform, Rater, Register
from tests.study.plain import plain_study
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
        seen = []
        while not isinstance(shown := self.desk.next(self.again(name)), str):
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
