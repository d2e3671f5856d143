"""People who come back from a platform: with the session they began with, with a new one, or with somebody's id."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from qdfeedback.feedback.tables import assignments, identities, items, judgments, raters
from qdfeedback.study import sessions
from tests.study.plain import plain_study
from tests.study.visitor import Visitor, images, site

ONE = {"PROLIFIC_PID": "5f3c0d", "STUDY_ID": "st", "SESSION_ID": "first"}
NEW = ONE | {"SESSION_ID": "second"}
MTURK = {"workerId": "A1B2", "assignmentId": "AS1", "hitId": "H1", "turkSubmitTo": "https://www.mturk.com"}


def opened(tmp_path: Path, n: int = 6, **rules: Any):
    plain_study(tmp_path / "s", n, **({"catch_per_rater": 0, "repeats": 0.0, "practice": 0} | rules))
    return site(tmp_path / "s")


def left(_) -> str:
    return "left"


def begun(app: Any, answers: int = 2, **link: str) -> Visitor:
    """Somebody who has joined and answered so many trials."""
    person = Visitor(app).join(**link)
    person.get("/task")
    for _ in range(answers):
        person.answer("left")
    return person


def left_the_study(person: Visitor, answers: str = "keep") -> Visitor:
    person.get("/stop")
    person.send("withdraw", answers=answers)
    return person


def answers(place: Any) -> Counter:
    return Counter(row["annotator_id"] for row in place.database.rows(sa.select(judgments)))


def people(place: Any) -> list[Any]:
    return place.database.rows(sa.select(raters))


def agreed(place: Any) -> str:
    return next(row["consent_utc"] for row in people(place) if row["platform"] == "prolific")


# --- a submission was returned, and there is another one


@pytest.mark.parametrize("link", [ONE, MTURK], ids=["prolific", "mturk"])
def test_who_returned_a_submission_goes_on_with_the_new_one(tmp_path: Path, link: dict[str, str]) -> None:
    place, app = opened(tmp_path, mturk="workerId" in link)
    new = link | {"SESSION_ID": "second", "assignmentId": "AS2"}
    begun(app, **link)
    again = Visitor(app)  # another device, or cookies that are gone
    assert again.get("/", **new).url.path == "/task"
    assert again.form("answer").fields["position"] == "2", "where they were"
    assert len(again.answer_all(left)) == 4
    assert len(people(place)) == 1
    assert list(answers(place).values()) == [6], "all of one person"
    assert again.where == "/done"
    assert "completion code" in again.page.text
    if "workerId" in link:
        form = again.form("https://www.mturk.com/mturk/externalSubmit")
        assert form.fields["assignmentId"] == "AS2", "the one that is in force"


def test_in_the_same_browser_the_new_submission_is_handed_in(tmp_path: Path) -> None:
    place, app = opened(tmp_path, mturk=True)
    person = begun(app, **MTURK)
    person.get("/", **(MTURK | {"assignmentId": "AS2"}))
    person.answer_all(left)
    assert person.form("https://www.mturk.com/mturk/externalSubmit").fields["assignmentId"] == "AS2"
    assert len(people(place)) == 1


def test_who_has_finished_is_thanked_again_whatever_the_session(tmp_path: Path) -> None:
    place, app = opened(tmp_path, completion_code="C0DE")
    begun(app, 6, **ONE)
    again = Visitor(app)
    assert again.get("/", **NEW).url.path == "/done"
    assert "C0DE" in again.page.text
    assert list(answers(place).values()) == [6]


def test_who_left_the_study_agrees_anew_and_goes_on(tmp_path: Path) -> None:
    place, app = opened(tmp_path, 8, raters_per_trial=1, trials_per_rater=4)
    left_the_study(begun(app, **ONE))
    before = agreed(place)
    other = Visitor(app).join()
    other.get("/task")
    other.answer("right")  # some of what the first one held is this one's now
    again = Visitor(app)
    again.get("/", **NEW)
    assert again.form("consent"), "they had taken their agreement back"
    assert again.get("/task").status_code == 401
    again.join(**NEW)
    assert again.where == "/instructions"
    assert again.get("/").url.path == "/task"
    assert len(again.answer_all(left)) == 2
    assert len(other.answer_all(left)) == 3
    assert len(people(place)) == 2
    assert agreed(place) > before
    trials = Counter(row["trial_id"] for row in place.database.rows(sa.select(judgments)))
    assert trials == {f"t{i}": 1 for i in range(8)}, "quotas are kept"


def test_who_left_the_study_and_comes_with_the_old_link_has_left(tmp_path: Path) -> None:
    _, app = opened(tmp_path)
    person = left_the_study(begun(app, **ONE))
    for browser in (person, Visitor(app)):
        assert "You have left the study" in browser.get("/", **ONE).text


def test_who_left_with_their_answers_begins_as_somebody_new(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    left_the_study(begun(app, **ONE), "delete")
    assert answers(place) == {}
    again = Visitor(app).join(**NEW)
    assert len(again.answer_all(left)) == 6
    assert list(answers(place).values()) == [6]


def test_who_comes_back_to_a_full_study_is_told(tmp_path: Path) -> None:
    place, app = opened(tmp_path, max_raters=1)
    left_the_study(begun(app, **ONE))
    Visitor(app).join()
    again = Visitor(app).join(**NEW)
    assert again.page.status_code == 409
    assert {row["stage"] for row in people(place)} == {"withdrawn", "practice"}


def test_who_comes_back_and_wants_to_see_less_sees_nothing_that_was_planned_before(tmp_path: Path) -> None:
    place, app = opened(tmp_path, 10, sensitive="Spiders.", catch_per_rater=2)
    with place.database.writing() as connection:
        connection.execute(sa.update(items).where(items.c.item_id == "4").values(sensitive=1))
    (marked,) = [row["content"] for row in place.database.rows(sa.select(items).where(items.c.sensitive == 1))]
    person = Visitor(app).join(**ONE)
    person.send("warning", see="all")
    person.get("/task")
    left_the_study(person)
    planned = len(place.database.rows(sa.select(assignments)))
    again = Visitor(app).join(**NEW)
    assert again.where == "/warning"
    again.send("warning", see="filtered")
    assert 0 < len(place.database.rows(sa.select(assignments))) < planned, "what may be seen stays planned"
    seen = set()

    def look(_) -> str:
        seen.update(images(again.page.text))
        return "left"

    again.answer_all(look)
    assert again.where == "/done"
    assert len(seen) > 3
    assert f"shown/{marked}" not in seen


# --- somebody who knows an id


def test_who_knows_a_platform_id_takes_nothing_from_a_person(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    person = begun(app, **ONE)
    stranger = Visitor(app)
    for guessed in ("x", "y"):
        stranger.get("/", **(ONE | {"SESSION_ID": guessed}))
        stranger.get("/stop")
        assert "delete" not in [value for _, value in stranger.form("withdraw").buttons]
        assert "ask those who make the study" in stranger.page.text
        assert stranger.send("withdraw", answers="delete").status_code == 403
        assert "cannot be deleted from here" in stranger.page.text
    assert list(answers(place).values()) == [2]
    assert person.get("/task").status_code == 401, "one browser at a time"
    assert person.get("/", **ONE).url.path == "/task", "their own link leads them back"
    assert stranger.get("/task").status_code == 401
    left_the_study(person, "delete")
    assert answers(place) == {}


def test_a_link_without_its_session_is_not_enough(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    person = begun(app, **ONE)
    stranger = Visitor(app)
    assert stranger.get("/", PROLIFIC_PID="5f3c0d").status_code == 403
    assert "A part of the link is missing" in stranger.page.text
    assert stranger.get("/task").status_code == 401
    assert person.get("/", PROLIFIC_PID="5f3c0d").url.path == "/task", "their cookie says who they are"
    assert [row["session_id"] for row in place.database.rows(sa.select(identities))] == ["first"]


def test_who_comes_first_with_somebodys_id_locks_them_not_out(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    Visitor(app).join(**(ONE | {"SESSION_ID": "guessed"}))
    person = Visitor(app)
    assert person.get("/", **ONE).url.path == "/task"
    assert len(person.answer_all(left)) == 6
    assert len(people(place)) == 1


@pytest.mark.parametrize(
    ("noted", "came", "known", "after", "proven"),
    [
        ("a", "a", False, "a", True),
        ("a", "b", True, "b", True),
        ("a", "b", False, "a b", False),
        ("a b", "c", False, "a c", False),
        ("a b", "b", True, "a b", False),
        ("a b", "c", True, "a c", False),  # whose cookie it is was not sure before
        ("a b", "a", False, "a", True),
        ("a b", "", True, "a b", False),
        ("a", "", True, "a", True),
        ("", "", False, "", True),
        (None, "", False, "", True),
        ("", "b", True, "b", True),
        ("", "b", False, " b", False),
        (" b", "", False, "", True),
    ],
)
def test_what_is_noted_of_sessions(noted: str | None, came: str, known: bool, after: str, proven: bool) -> None:
    found = sessions.after(noted, came, known=known)
    assert (found, sessions.is_proven(found)) == (after, proven)
    assert sessions.newest(found) == (came or (noted or "").split(" ")[-1] if known else came)


@pytest.mark.parametrize("noted", ["a", "a b"])
def test_without_session_or_cookie_nobody_is_taken_for_who_had_one(noted: str) -> None:
    with pytest.raises(sessions.NoSessionError):
        sessions.after(noted, "", known=False)
