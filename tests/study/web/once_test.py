"""One answer per trial and person, exact quotas, nothing lost: whatever people, networks, clocks and servers do."""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from qdfeedback.claims import claim
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import end_study
from qdfeedback.feedback.tables import assignments, judgments, raters, trials
from qdfeedback.study.desk import Desk
from qdfeedback.study.erase import delete_rater
from qdfeedback.study.exchange.exports import export
from qdfeedback.study.exchange.imports import import_answers
from qdfeedback.study.place import open_study
from qdfeedback.study.register import Platform, Register
from tests.study.plain import plain_study
from tests.study.visitor import KEY, Visitor, forms, sealed, site


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def study(tmp_path: Path, where: str):
    """Makes a study on either database; returns its folder, its pages, and a clock that tests can turn."""

    def make(n: int = 6, **rules):
        name = os.urandom(4).hex()
        folder = tmp_path / name
        folder.mkdir()
        database = where if "://" in where else None
        rules = {"practice": 0, "catch_per_rater": 0, "repeats": 0.0} | rules
        plain_study(folder, n, database=database, name=name, **rules)
        clock = Clock()
        place, app = site(folder, database, clock=clock)
        return place, app, clock

    return make


def records(place, kind: str = "main") -> list[dict]:
    store = Store.__new__(Store)
    store.database = place.database
    return [row for row in store.records(place.study.study_id) if row["kind"] == kind]


def per_trial(place) -> Counter:
    return Counter(row["trial_id"] for row in records(place))


def left(_) -> str:
    return "left"


def test_a_double_click_leaves_one_answer(study) -> None:
    place, app, _ = study()
    person = Visitor(app).join()
    person.get("/task")
    form = person.form("answer")
    barrier = threading.Barrier(4)

    def click(choice: str) -> int:
        barrier.wait()
        return person.client.post("/answer", data=form.fields | {"choice": choice}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(click, ["left", "right", "left", "right"])) == {200}
    assert len(records(place)) == 1


def test_back_retry_and_two_tabs_leave_the_first_answer(study) -> None:
    place, app, _ = study()
    person = Visitor(app).join()
    old = person.get("/task")
    form = person.form("answer")
    person.answer("left")
    assert person.form("answer").fields["position"] == "1"
    person.page = old  # the back button, and another answer; or the same tab opened twice
    person.answer("right")
    assert person.form("answer").fields["position"] == "1", "it leads on to what is open"
    person.client.post("/answer", data=form.fields | {"choice": "left"})  # a retry after a lost reply
    assert [(row["trial_id"], row["choice"]) for row in records(place)] == [
        (sealed(place)[form.fields["trial"]], "left")
    ]


def test_a_double_click_on_consent_takes_a_person_in_once(study) -> None:
    _, app, _ = study(max_raters=2)
    person = Visitor(app)
    person.get("/")
    form = person.form("consent")
    with ThreadPoolExecutor(3) as pool:
        said = pool.map(lambda _: person.client.post("/consent", data=form.fields | {"agree": "yes"}), range(3))
        assert {answer.status_code for answer in said} == {200}
    assert Visitor(app).join().where == "/instructions", "one of two places was left"
    assert "full" in Visitor(app).join().page.text


def test_a_person_answers_a_trial_once_even_from_two_devices(study) -> None:
    place, app, _ = study(3)
    link = {"PROLIFIC_PID": "p1", "STUDY_ID": "s", "SESSION_ID": "x"}
    one = Visitor(app).join(**link)
    one.get("/task")
    one.answer("left")
    other = Visitor(app)
    assert other.get("/", **link).url.path == "/task"
    other.answer_all(left)
    one.get("/task")
    assert "do not know you" in one.page.text, "the cookie moved on with the person"
    assert one.get("/", **link).url.path == "/done"
    assert per_trial(place) == {"t0": 1, "t1": 1, "t2": 1}


def test_quotas_are_exact_when_all_come_at_once(study) -> None:
    place, app, _ = study(10, raters_per_trial=2, trials_per_rater=5)
    people = [Visitor(app) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda person: person.join().answer_all(left), people))
    assert set(per_trial(place).values()) == {2}
    assert len(per_trial(place)) == 10
    assert "The study is over" in Visitor(app).join().page.text, "nothing is left to ask"


def test_a_trial_goes_to_others_when_somebody_is_gone(study) -> None:
    place, app, clock = study(4, raters_per_trial=1, trials_per_rater=4)
    gone = Visitor(app).join()
    gone.get("/task")
    form = gone.form("answer")
    other = Visitor(app).join()
    assert other.answer_all(left) == [], "all are held for the first"
    clock.now += 31 * 60
    third = Visitor(app).join()
    assert len(third.answer_all(left)) == 4
    gone.client.post("/answer", data=form.fields | {"choice": "right"})
    assert set(per_trial(place).values()) == {1}
    assert [row["choice"] for row in records(place, "surplus")] == ["right"], "kept, but not counted"
    gone.get("/task")
    assert gone.where == "/done"


def test_who_was_late_waits_and_gets_no_code_for_nothing(study) -> None:
    place, app, clock = study(4, raters_per_trial=1, trials_per_rater=4)
    quick, late = Visitor(app).join(), Visitor(app).join()
    quick.get("/task")  # all are held for this one
    late.get("/task")
    assert late.where == "/task"
    assert "Every question has its answers" in late.page.text
    assert "code" not in late.get("/done").text
    clock.now += 31 * 60
    assert len(late.answer_all(left)) == 4
    assert late.where == "/done"
    assert "completion code" in late.page.text
    assert per_trial(place) == {f"t{i}": 1 for i in range(4)}


def test_a_batch_of_a_live_study_is_for_all_who_are_there(study) -> None:
    place, app, _ = study(8, live=True, raters_per_trial=1, trials_per_rater=60)
    people = [Visitor(app).join() for _ in range(2)]
    for person in people:
        person.get("/task")
        assert person.form("answer")
    for _ in range(5):
        for person in people:
            if any(form.action == "answer" for form in forms(person.page.text)):
                person.answer("left")
    assert per_trial(place) == {f"t{i}": 1 for i in range(8)}
    assert {person.page.text.count("Nothing to ask just now") for person in people} == {1}
    for person in {row["annotator_id"] for row in records(place)}:
        mine = [row for row in records(place) if row["annotator_id"] == person]
        unswapped = [row["left_id"] == str((int(row["trial_id"][1:]) + 1) % 10) for row in mine]
        assert abs(2 * sum(unswapped) - len(mine)) <= 1, "sides are balanced bit by bit"


def test_a_live_study_has_an_end(study) -> None:
    place, app, _ = study(3, live=True, trials_per_rater=3, catch_per_rater=40, raters_per_trial=2)
    person = Visitor(app).join()
    person.answer_all(left)
    assert person.where == "/done", "there are fewer catch trials than are wanted"
    place, app, _ = study(3, live=True, trials_per_rater=9)
    one, late = Visitor(app).join(), Visitor(app).join()
    one.answer_all(left)
    assert "paused at this moment" in one.page.text, "nobody is at work on the folder"
    claim(place.folder)
    assert "will have new questions soon" in one.get("/task").text
    end_study(place.folder)
    assert one.get("/task").url.path == "/done"
    assert late.get("/task").url.path == "/task"
    assert "will have new questions soon" not in late.page.text


def test_practice_is_not_missed_by_who_comes_before_the_first_question(study) -> None:
    place, app, _ = study(2, live=True, practice=2)
    with place.database.writing() as connection:
        connection.execute(sa.update(trials).where(trials.c.study_id == place.study.study_id).values(study_id="later"))
    person = Visitor(app).join()
    assert "Nothing to ask just now" in person.get("/task").text
    with place.database.writing() as connection:
        connection.execute(sa.update(trials).where(trials.c.study_id == "later").values(study_id=place.study.study_id))
    person.get("/task")
    assert person.form("answer").fields["position"] == "-1"


def test_what_was_given_away_takes_its_repeat_along(study) -> None:
    place, app, clock = study(6, raters_per_trial=1, trials_per_rater=6, repeats=0.5, repeat_gap=1)
    gone = Visitor(app).join()
    gone.get("/task")
    gone.answer("left")
    clock.now += 31 * 60
    assert len(Visitor(app).join().answer_all(left)) >= 5
    gone.answer_all(left)
    me = records(place)[0]["annotator_id"]
    mine = {row["trial_id"] for row in records(place) if row["annotator_id"] == me}
    assert {row["trial_id"] for row in records(place, "repeat") if row["annotator_id"] == me} <= mine


def test_who_was_removed_or_has_left_answers_no_more(study) -> None:
    place, _, _ = study(4, raters_per_trial=1, trials_per_rater=4)
    register = Register(place.database, place.study, KEY)
    desk = Desk(register)
    gone, left_ = (register.join(Platform("link"), letter * 32) for letter in "xy")
    shown = desk.next(gone)
    delete_rater(place.folder, place.database, place.study, gone.rater_id)
    assert not desk.answer(gone, shown, "left", response_ms=None)
    desk.allotment.fill(gone)
    assert place.database.rows(sa.select(assignments).where(assignments.c.rater_id == gone.rater_id)) == []
    shown = desk.next(left_)
    register.leave(left_)
    register.enter(left_, "trials")  # another tab, a moment behind
    assert register.rater("y" * 32).stage == "withdrawn"
    assert not desk.answer(left_, shown, "left", response_ms=None)
    assert records(place) == []


def test_two_late_answers_to_what_was_given_away_are_one(study) -> None:
    place, _, clock = study(4, raters_per_trial=1, trials_per_rater=4)
    register = Register(place.database, place.study, KEY, clock=clock)
    desk = Desk(register)
    slow = register.join(Platform("link"), "x" * 32)
    shown = desk.next(slow)
    clock.now += 31 * 60
    quick = register.join(Platform("link"), "y" * 32)
    while (other := desk.next(quick)) != "done":
        desk.answer(quick, other, "left", response_ms=None)
    slow = register.rater("x" * 32)
    desk.next(slow)  # drops what others have answered
    assert not desk.answer(slow, shown, "left", response_ms=None)
    assert not desk.answer(slow, shown, "right", response_ms=None)
    assert Counter(row["annotator_id"] for row in records(place)) == {quick.rater_id: 4}
    assert records(place, "surplus") == []


def test_servers_whose_clocks_differ_a_little_agree(study) -> None:
    place, _, clock = study(4, raters_per_trial=1, trials_per_rater=4)
    ahead = Register(place.database, place.study, KEY, clock=lambda: clock.now + 100)
    rater = ahead.join(Platform("link"), "x" * 32)
    Desk(ahead).next(rater)
    behind = Desk(Register(place.database, place.study, KEY, clock=clock))
    assert not behind.allotment.has_room()
    assert behind.next(behind.register.join(Platform("link"), "y" * 32)) == "waiting"


def test_who_stays_keeps_their_trials(study) -> None:
    place, app, clock = study(4, raters_per_trial=1, trials_per_rater=4)
    slow = Visitor(app).join()
    for _ in range(4):
        slow.get("/task")
        clock.now += 29 * 60
        assert Visitor(app).join().answer_all(left) == []
        slow.answer("right")
    assert [row["choice"] for row in records(place)] == ["right"] * 4


def test_leaving_frees_what_was_held(study) -> None:
    _, app, _ = study(4, raters_per_trial=1, trials_per_rater=4)
    person = Visitor(app).join()
    person.get("/task")
    person.answer("left")
    person.get("/stop")
    person.send("withdraw", answers="keep")
    assert "left the study" in person.page.text
    assert len(Visitor(app).join().answer_all(left)) == 3


def test_a_skipped_trial_is_asked_again_of_another(study) -> None:
    place, app, _ = study(3, raters_per_trial=1, trials_per_rater=3)
    assert len(Visitor(app).join().answer_all(lambda _: "skip")) == 3
    assert len(Visitor(app).join().answer_all(left)) == 3
    assert Counter(row["choice"] for row in records(place)) == {"skip": 3, "left": 3}


@pytest.mark.parametrize("jump", [-86400.0 * 400, 86400.0 * 400])
def test_a_clock_that_jumps_loses_nothing(study, jump: float) -> None:
    place, app, clock = study(6, raters_per_trial=1, trials_per_rater=6)
    person = Visitor(app).join()
    person.get("/task")
    person.answer("left")
    clock.now += jump
    person.get("/task")
    person.answer("left")
    assert Visitor(app).join().answer_all(left) == [], "who is there holds their trials by the new clock"
    assert len(person.answer_all(left)) == 4
    assert len(records(place)) == 6
    assert records(place, "surplus") == []


def test_trials_held_before_a_clock_went_back_are_not_held_for_ever(study) -> None:
    _, app, clock = study(4, raters_per_trial=1, trials_per_rater=4)
    Visitor(app).join().get("/task")
    clock.now -= 86400 * 400
    assert len(Visitor(app).join().answer_all(left)) == 4


def test_imported_answers_count_against_the_quota(study, tmp_path: Path) -> None:
    """Those of a person who answered on another machine, of whose plan nothing is known here."""
    place, app, _ = study(4, raters_per_trial=1, trials_per_rater=4)
    person = Visitor(app).join()
    person.get("/task")
    person.answer("left")
    person.answer("right")
    there = {row["trial_id"] for row in records(place)}
    export(place.folder, place.database, place.study, tmp_path / "out", fmt="jsonl")
    with place.database.writing() as connection:
        for table in (judgments, assignments, raters):
            connection.execute(sa.delete(table).where(table.c.study_id == place.study.study_id))
    assert per_trial(place) == {}
    found = import_answers(place.folder, place.database, place.study, tmp_path / "out", fmt="jsonl")
    assert (found.new, found.refused) == (2, [])
    here = sealed(place)
    asked = {here[form["trial"]] for form in Visitor(app).join().answer_all(left)}
    assert asked == {f"t{i}" for i in range(4)} - there
    assert per_trial(place) == {f"t{i}": 1 for i in range(4)}
    assert "The study is over" in Visitor(app).join().page.text


def test_sides_are_balanced_and_repeats_swapped_on_the_page(study) -> None:
    place, app, _ = study(8, repeats=0.25, repeat_gap=2, trials_per_rater=8, catch_per_rater=2)
    Visitor(app).join().answer_all(left)
    main = {row["trial_id"]: row for row in records(place)}
    first = {f"t{i}": str((i + 1 + i // 10) % 10) for i in range(8)}
    assert sum(row["left_id"] == first[trial] for trial, row in main.items()) == 4
    again = records(place, "repeat")
    assert len(again) == 2
    for row in again:
        assert row["left_id"] == main[row["trial_id"]]["right_id"]
        assert row["position"] - main[row["trial_id"]]["position"] > 2
        assert row["winner_id"] == row["left_id"]


def test_two_processes_behind_one_store_agree(study, tmp_path: Path) -> None:
    place, app, clock = study(10, raters_per_trial=1, trials_per_rater=5)
    second = open_study(place.folder, str(place.database.engine.url) if not place.database.is_sqlite else None)
    from qdfeedback.study.web.app import create_app
    from tests.study.visitor import AMPLE

    other = create_app(second, KEY, limits=AMPLE, clock=clock)
    people = [Visitor(app), Visitor(other)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda person: person.join().answer_all(left), people))
    assert per_trial(place) == {f"t{i}": 1 for i in range(10)}
    second.database.close()


def test_an_answer_that_cannot_be_stored_is_not_acknowledged(study, monkeypatch) -> None:
    place, app, _ = study()
    person = Visitor(app).join()
    person.get("/task")
    monkeypatch.setattr("qdfeedback.study.desk.append_judgments", _full_disk)
    assert person.answer("left").status_code == 503
    assert "stored" in person.page.text
    monkeypatch.undo()
    person.get("/task")
    assert person.form("answer").fields["position"] == "0"
    person.answer("right")
    assert [row["choice"] for row in records(place)] == ["right"]


def _full_disk(*_) -> int:
    raise OSError("disk full")


def test_an_answer_that_is_none_is_refused(study) -> None:
    place, _, _ = study(skip=False)
    register = Register(place.database, place.study, KEY)
    desk = Desk(register)
    rater = register.join(Platform("link"), "x" * 32)
    shown = desk.next(rater)
    for choice in ("skip", "tie", "middle", ""):
        with pytest.raises(ValueError, match="is no answer"):
            desk.answer(rater, shown, choice, response_ms=None)
    assert records(place) == []
