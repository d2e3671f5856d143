"""What people meet on the page, from each way in to each way out."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from qdfeedback.feedback.people import People
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import Question, live_study, write_study
from qdfeedback.feedback.tables import assignments, identities, items, judgments, raters, tombstones
from qdfeedback.shown import Shown
from qdfeedback.study.secrets import new_token
from qdfeedback.study.web.app import _milliseconds
from tests.study.plain import plain_study
from tests.study.small_study import HOSTILE, small_study
from tests.study.visitor import Visitor, images, sealed, site

PROLIFIC = {"PROLIFIC_PID": "5f3c0d", "STUDY_ID": "st", "SESSION_ID": "se"}
MTURK = {"workerId": "A1B2", "assignmentId": "AS1", "hitId": "H1", "turkSubmitTo": "https://www.mturk.com"}


def opened(tmp_path: Path, n: int = 4, **rules):
    folder = tmp_path / "study"
    folder.mkdir()
    plain_study(folder, n, **({"catch_per_rater": 0, "repeats": 0.0} | rules))
    return site(folder)


def left(_) -> str:
    return "left"


def test_nobody_sees_a_trial_before_agreeing(tmp_path: Path) -> None:
    _, app = opened(tmp_path, consent="We keep your answers.", retention="2030-01-01")
    person = Visitor(app)
    page = person.get("/").text
    assert "We keep your answers." in page
    assert "2030-01-01" in page
    assert "up to 4 short questions" in page
    assert person.get("/task").status_code == 401
    person.get("/")
    assert person.send("consent").status_code == 400
    assert person.get("/task").status_code == 401


def test_agreement_is_stored_with_the_text_that_was_agreed_to(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    Visitor(app).join()
    (row,) = place.database.rows(sa.select(raters))
    assert row["consent_sha256"] == place.study.consent_sha256
    assert row["consent_utc"]


def test_practice_tells_what_was_expected(tmp_path: Path) -> None:
    place, app = opened(tmp_path, practice=2)
    person = Visitor(app).join()
    person.get("/task")
    person.answer("left")  # practice shows the right answer left first, then right
    assert person.where == "/feedback"
    assert "what we expected" in person.page.text
    person.get("/task")
    person.answer("left")
    assert "expected the other" in person.page.text
    assert person.get("/task").status_code == 200
    assert person.form("answer").fields["position"] == "0"
    assert [row["kind"] for row in Store(place.folder / "judgments.db").records("s")] == ["practice"] * 2


def test_the_same_trial_comes_back_after_a_reload_or_days(tmp_path: Path) -> None:
    _, app = opened(tmp_path, 8, practice=0)
    person = Visitor(app).join()
    person.get("/task")
    person.answer("left")
    before = person.page.text
    assert person.get("/task").text == before
    assert person.get("/").text == before, "the link leads back"


def test_progress_is_told(tmp_path: Path) -> None:
    _, app = opened(tmp_path, practice=0)
    person = Visitor(app).join()
    assert "0 of 4" in person.get("/task").text
    assert 'value="1"' in person.answer("left").text


def test_prolific(tmp_path: Path) -> None:
    place, app = opened(tmp_path, completion_code="C0DE")
    person = Visitor(app).join(**PROLIFIC)
    person.answer_all(left)
    assert "https://app.prolific.com/submissions/complete?cc=C0DE" in person.page.text
    (row,) = place.database.rows(sa.select(identities))
    assert (row["platform_id"], row["session_id"]) == ("5f3c0d", "se")
    again = Visitor(app)
    assert again.get("/", **PROLIFIC).url.path == "/done", "another browser, the same person"


def test_a_live_study_gives_no_code_for_nothing(tmp_path: Path) -> None:
    _, app = opened(tmp_path, live=True, practice=0)
    person = Visitor(app).join()
    person.get("/stop")
    assert person.send("finish").status_code == 409
    assert person.get("/done").url.path == "/task"


def test_mturk(tmp_path: Path) -> None:
    _, app = opened(tmp_path, mturk=True)
    preview = Visitor(app).get("/", **(MTURK | {"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE"}))
    assert "preview" in preview.text
    assert "set-cookie" not in preview.headers
    person = Visitor(app).join(**MTURK)
    person.answer_all(left)
    assert person.form("https://www.mturk.com/mturk/externalSubmit").fields["assignmentId"] == "AS1"
    assert "form-action 'self' https://www.mturk.com" in person.page.headers["content-security-policy"]


def test_two_people_on_one_device(tmp_path: Path) -> None:
    place, app = opened(tmp_path, practice=0)
    person = Visitor(app).join(**PROLIFIC)
    person.join(**(PROLIFIC | {"PROLIFIC_PID": "other"}))
    person.get("/task")
    assert len(place.database.rows(sa.select(raters))) == 2
    lab = Visitor(app).join()
    lab.answer_all(left)
    assert lab.where == "/done"
    lab.get("/", new="1")
    lab.send("consent", agree="yes")
    assert len(place.database.rows(sa.select(raters))) == 4


def test_a_code_of_ones_own(tmp_path: Path) -> None:
    _, app = opened(tmp_path, completion_url="https://example.org/back?code={code}")
    codes = []
    for _ in range(2):
        person = Visitor(app).join()
        person.answer_all(left)
        codes.append(person.page.text.partition("back?code=")[2][:8])
    assert len(set(codes)) == 2


def test_a_warning_stands_before_sensitive_content(tmp_path: Path) -> None:
    place, app = opened(tmp_path, sensitive="There are spiders.", practice=1)
    with place.database.writing() as connection:
        connection.execute(sa.update(items).where(items.c.item_id == "4").values(sensitive=1))
    marked = {row["content"] for row in place.database.rows(sa.select(items).where(items.c.sensitive == 1))}
    for see, n in (("all", 4), ("filtered", 2)):
        person = Visitor(app).join()
        assert person.where == "/warning"
        assert "spiders" in person.page.text
        assert images(person.page.text) == []
        assert person.get("/task").url.path == "/warning", "there is no way round it"
        person.send("warning", see=see)
        seen = set()

        def look(_, person=person, seen=seen) -> str:
            seen |= {source.removeprefix("shown/") for source in images(person.page.text)}
            return "left"

        given = person.answer_all(look)
        assert len([form for form in given if int(form["position"]) >= 0]) == n
        assert bool(seen & marked) == (see == "all")
        assert person.where == "/done"


def test_without_marked_items_there_is_nothing_to_leave_out(tmp_path: Path) -> None:
    _, app = opened(tmp_path, sensitive="There are spiders.")
    assert "Leave out" not in Visitor(app).join().page.text


def test_whoever_leaves_can_take_their_answers_along(tmp_path: Path) -> None:
    place, app = opened(tmp_path, practice=0)
    person = Visitor(app).join(**PROLIFIC)
    person.get("/task")
    person.answer("left")
    person.get("/stop")
    person.send("withdraw", answers="delete")
    for table in (judgments, assignments, raters, identities):
        assert place.database.rows(sa.select(table)) == []
    (stone,) = place.database.rows(sa.select(tombstones))
    assert stone["judgments"] == 1
    assert person.get("/task").status_code == 401


def test_a_live_study_lets_people_wait_and_finish(tmp_path: Path) -> None:
    place, app = opened(tmp_path, 2, live=True, trials_per_rater=10, practice=0)
    person = Visitor(app).join()
    person.answer_all(left)
    assert "Nothing to ask just now" in person.page.text
    assert 'http-equiv="refresh"' in person.page.text
    store = Store(place.folder / "judgments.db")
    store.add_trials(
        [],
        [
            {
                **dict.fromkeys(("expected",)), "study_id": "s", "trial_id": "new", "question": "alike",
                "task": "triplet", "kind": "main", "purpose": "bald", "anchor_id": "1", "a_id": "2", "b_id": "3",
                "published_utc": "2026-01-01T00:00:00.000+00:00",
            }
        ],
    )  # fmt: skip
    person.get("/task")
    assert sealed(place)[person.form("answer").fields["trial"]] == "new"
    person.answer("right")
    person.send("finish")
    assert person.where == "/done"
    store.close()


def test_every_kind_of_question_can_be_answered(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    small = small_study(folder)
    _, app = site(folder)
    person = Visitor(app).join()
    texts = ""

    def choose(form) -> str:
        nonlocal texts
        texts += person.page.text
        return next(value for name, value in form.buttons if name == "choice" and value not in ("skip", "tie"))

    given = person.answer_all(choose)
    assert person.where == "/done"
    assert {form["choice"] for form in given} >= {"left", "0", "=happy"}
    assert HOSTILE not in texts
    assert "&lt;script&gt;" in texts
    rows = [row for row in small.store.records("s-1") if len(row["annotator_id"]) == 16]
    assert {row["choice"] for row in rows} >= {"left", "value", "label"}
    assert {row["value"] for row in rows if row["task"] == "rating"} == {0.0}


def test_what_is_shown_is_given_with_its_type(tmp_path: Path) -> None:
    from tests.study.plain import drawn_study

    drawn_study(tmp_path / "drawn", everything=True)
    place, app = site(tmp_path / "drawn")
    client = Visitor(app).client
    types = {"png": "image/png", "apng": "image/apng", "txt": "text/plain; charset=utf-8"}
    for path in (place.folder / "shown").iterdir():
        answer = client.get(f"/shown/{path.name}")
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"] == types[path.suffix[1:]]
    moving = next((place.folder / "shown").glob("*.apng")).name
    still = client.get(f"/still/{moving}")
    assert still.headers["content-type"] == "image/png"
    assert len(still.content) < len(client.get(f"/shown/{moving}").content)


def test_the_owner_sees_how_it_goes(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    Visitor(app).join().answer_all(left)
    owner = Visitor(app)
    assert owner.get("/owner").status_code == 401
    assert owner.get("/report").url.path == "/owner"
    token = new_token(place.database, "s")
    assert owner.send("owner-login", token=token).url.path == "/owner"
    assert "PROLIFIC_PID" in owner.page.text
    assert "<strong>4</strong>answers" in owner.page.text.replace("\n", "")
    alone = owner.get("/report").text
    assert "One person answered: nothing here can be generalised." in alone
    assert "Krippendorff" not in alone
    assert owner.get("/report.json").json()["answers"]["kinds"]["main"] == 4
    Visitor(app).join().answer_all(left)
    together = owner.get("/report").text
    assert "Krippendorff" in together, "the report is made anew"
    assert "One person" not in together
    assert owner.get("/report.json").json()["answers"]["kinds"]["main"] == 8


def test_a_picture_that_is_gone_leaves_its_page_alone(tmp_path: Path) -> None:
    place, app = opened(tmp_path, practice=0)
    for path in (place.folder / "shown").iterdir():
        path.unlink()
    person = Visitor(app).join()
    assert person.get("/task").status_code == 200
    assert 'alt="Reference"' in person.page.text
    assert 'alt="Left"' in person.page.text
    assert person.client.get("/" + images(person.page.text)[0]).status_code == 404


def test_a_question_about_what_nothing_shows_is_an_error_that_says_so(tmp_path: Path, caplog) -> None:
    place, app = opened(tmp_path, 1, practice=0)
    with place.database.writing() as connection:
        connection.execute(sa.delete(items).where(items.c.item_id == "3"))
    person = Visitor(app).join()
    assert person.get("/task").status_code == 500
    assert "Something went wrong on our side" in person.page.text
    assert "item" not in person.page.text, "visitors are told nothing"
    assert "nothing shows item '3'" in caplog.text


def test_a_text_that_is_gone_is_an_error_on_our_side(tmp_path: Path, caplog) -> None:
    small = small_study(tmp_path / "study", questions=("mood",))
    for path in (small.folder / "shown").glob("*.txt"):
        path.unlink()
    _, app = site(small.folder)
    assert Visitor(app).join().get("/task").status_code in (500, 503)
    assert "shown" in caplog.text


def test_people_as_annotators_publish_and_never_answer(tmp_path: Path) -> None:
    import numpy as np

    from qdfeedback.types import Queries

    store = Store(tmp_path / "j.db")
    people = People(store, "live", lambda ids: {int(i): f"{'0' * 63}{i}.png" for i in ids})
    queries = Queries(np.array(["a", "b"]), np.array([[0, 1, 2], [2, 3, 4]]), np.array(["random", "bald"]))
    assert len(people.answer(queries)) == 0
    assert len(people.answer(queries)) == 0, "published again after a resume"
    assert store.asked("live") == 2
    assert (people.kind, people.name) == ("person", "people")
    with pytest.warns(UserWarning, match="2 of 2 questions are not asked: candidates 0, 1, 2, 3, 4 cannot be shown"):
        People(store, "other", lambda ids: {}).answer(queries)
    assert store.asked("other") == 0


def test_what_a_search_asks_in_pairs_and_ratings_people_answer_on_the_page(tmp_path: Path) -> None:
    """And the search learns from it, without who is left out."""
    import numpy as np

    from qdfeedback.types import Queries

    better, nicer = Question("better", "pair", "Which is better?"), Question("nicer", "pair", "Which is nicer?")
    grade = Question("grade", "rating", "How good is it?", scale=(1, 7))
    write_study(tmp_path, live_study("live", better, nicer, grade, title="Pictures", repeats=0.0))
    shown, store = Shown(tmp_path / "shown"), Store(tmp_path / "judgments.db")
    names = [shown.add(np.full((8, 8, 3), 20 * i, np.uint8)) for i in range(5)]
    for question, batch in ((better, [[0, 1], [2, 3]]), (nicer, [[3, 1]]), (grade, [[4], [2]])):
        uids = np.array([f"{question.name}/{i}" for i in range(len(batch))])
        queries = Queries(uids, np.array(batch), np.full(len(batch), "random"), question.task)
        people = People(store, "live", lambda ids: {int(i): names[int(i)] for i in ids}, question.name)
        store.ask("live", queries, people)
    assert store.asked("live") == 5
    place, app = site(tmp_path)
    person = Visitor(app).join()
    given = person.answer_all(lambda form: "6" if ("choice", "6") in form.buttons else "left")
    assert len(given) == 5
    ratings = store.judged("live", "rating")
    assert sorted(ratings.items.ravel()) == [2, 4]
    assert ratings.value.tolist() == [6.0, 6.0]
    pairs = {name: store.judged("live", "pair", question=name).items.tolist() for name in ("better", "nicer")}
    assert {frozenset(pair) for pair in pairs["better"]} == {frozenset({0, 1}), frozenset({2, 3})}
    assert [set(pair) for pair in pairs["nicer"]] == [{1, 3}]
    left_of = {row["trial_id"]: int(row["left_id"]) for row in store.records("live") if row["task"] == "pair"}
    assert sorted(left_of.values()) == sorted(pair[0] for part in pairs.values() for pair in part)
    (who,) = {row["annotator_id"] for row in store.records("live")}
    assert len(store.judged("live", "pair", without=[who])) == 0
    assert store.judged("live", "rating", people_without=[]).items.shape == (2, 1)
    place.database.close()


def test_a_study_that_has_a_last_question_is_not_finished_before(tmp_path: Path) -> None:
    """Only a live study's page has such a button; a code for the platform must not be had without the work."""
    place, app = opened(tmp_path, practice=0)
    person = Visitor(app).join()
    person.get("/task")
    person.answer("left")
    form = person.form("answer")
    person.page = person.client.post("/finish", data={"token": form.fields["token"]})
    assert person.where == "/task"
    (row,) = place.database.rows(sa.select(raters))
    assert (row["stage"], row["finished_utc"]) == ("trials", None)
    assert len(person.answer_all(left)) == 3
    assert person.where == "/done"


def test_a_response_time_is_one_that_can_be() -> None:
    day = 24 * 3_600_000
    assert [_milliseconds(text) for text in ("0", "1250", str(day))] == [0, 1250, day]
    for text in (str(day + 1), "9" * 400, "-1", "1.5", "1e3", "", " 5", "٥", "nan"):
        assert _milliseconds(text) is None, text
