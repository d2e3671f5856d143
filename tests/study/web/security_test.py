"""What a hostile visitor tries, and hostile content."""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import numpy as np
import pytest
import sqlalchemy as sa
import uvicorn
from starlette.datastructures import Headers

import qdfeedback
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.study import Question, Study, read_study
from qdfeedback.feedback.tables import identities, judgments, meta, raters, trials
from qdfeedback.study import secrets
from qdfeedback.study.place import Place
from qdfeedback.study.web.guard import MTURK, SUBMIT, Buckets, Limits
from qdfeedback.study.web.serve import serve
from qdfeedback.study.web.visit import cookie_name
from tests.study import small_study as small
from tests.study.plain import ALIKE, plain_study
from tests.study.visitor import AMPLE, KEY, Form, Visitor, images, sealed, site

RATER, OWNER = (cookie_name(kind, "s") for kind in ("rater", "owner"))
PID, SESSION = "5f8e7d6c5b4a39281706f5e4", "a1b2c3d4e5f6a7b8c9d0e1f2"
HASH = "0" * 64
SQL = ("' OR '1'='1", "x'; DROP TABLE raters; --", '1" UNION SELECT token_hash FROM owners #')
TOLD = re.compile(r"Traceback|Error|Exception|\.py\b|/home/|/tmp/|sqlite|SELECT|INSERT|judgments\.db", re.IGNORECASE)
URLENCODED = "application/x-www-form-urlencoded"
FORMS: dict[str, dict[str, str]] = {
    "consent": {"agree": "yes"}, "warning": {"see": "all"}, "answer": {"choice": "left"}, "finish": {},
    "withdraw": {"answers": "delete"},
}  # fmt: skip
NOT_MTURK = [
    "https://evil.example", "//evil.example", "https://www.mturk.com.evil.example", "https://www.mturk.com@evil.example",
    "http://www.mturk.com", "https://www.mturk.com/x", "https://www.mturk.com:8", "https://www.mturk.com?",
    "https://worker.mturk.com", "https://www.mturk.com\n", "javascript:alert(1)",
]  # fmt: skip


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(secrets.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def opened(folder: Path, *, limits: Limits = AMPLE, public_url: str = "", **rules: Any) -> tuple[Place, Any]:
    plain_study(folder / "s", **rules)
    return site(folder / "s", limits=limits, public_url=public_url)


def raw(app: Any, path: str, *headers: tuple[str, str], body: bytes = b"", **more: Any) -> tuple[int, Headers, bytes]:
    """Asks without a client that tidies up what is sent."""
    named = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path, "headers": named,
             "raw_path": b"", "query_string": b"", "server": ("testserver", 80), "client": ("::1", 1)}  # fmt: skip
    received = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return received.pop() if received else await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    anyio.run(app, scope | more, receive, send)
    return sent[0]["status"], Headers(raw=sent[0]["headers"]), b"".join(part.get("body", b"") for part in sent)


def stored(place: Place) -> dict[str, list[Any]]:
    return {t.name: [tuple(row.values()) for row in place.database.rows(sa.select(t))] for t in meta.sorted_tables}


def recorded(visitor: Visitor) -> list[Any]:
    """Gets every answer from now on, those that lead elsewhere too."""
    found: list[Any] = []
    visitor.client.event_hooks = {"response": [lambda answer: (answer.read(), found.append(answer))]}
    return found


def first(form: Any) -> str:
    return form.buttons[0][1]


def ready(app: Any, action: str) -> tuple[Visitor, dict[str, str]]:
    """A person who has a form before them, and what it would send."""
    visitor = Visitor(app)
    visitor.get("/")
    for step in ("consent", "warning"):
        if step == action:
            break
        if f'action="{step}"' in visitor.page.text:
            visitor.send(step, **FORMS[step])
    else:
        if action == "finish":  # which thanks for answers, not for nothing
            visitor.get("/task")
            visitor.answer("left")
        visitor.get("/task" if action == "answer" else "/stop")
    return visitor, visitor.form(action).fields | FORMS[action]


def login(app: Any, token: str | None, **more: Any) -> Any:
    return Visitor(app).client.post("/owner-login", data={"token": token}, **more)


def owner(app: Any, place: Place) -> Visitor:
    visitor = Visitor(app)
    visitor.client.cookies[cookie_name("owner", place.study.study_id)] = str(
        secrets.new_token(place.database, place.study.study_id, replace=True)
    )
    return visitor


def check(answer: Any) -> None:
    """Holds of every answer."""
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    report = answer.url.path == "/report" and answer.status_code == 200
    assert policy["style-src"] == ("'unsafe-inline'" if report else "'self'")
    assert policy.get("script-src", "'none'") in ("'self'", "'none'")
    assert policy.get("form-action", "'self'") == "'self'"
    assert {policy[name] for name in ("default-src", "base-uri", "frame-ancestors")} == {"'none'"}
    told = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer"}
    assert told.items() <= dict(answer.headers).items()
    assert re.fullmatch(r"(\w+(\?position=-?\d+)?)?", answer.headers.get("location", ""))
    if "html" in answer.headers.get("content-type", ""):
        assert "".join(re.findall("<script[^>]*>", answer.text)) in ("", '<script src="static/study.js" defer>')
        assert not re.search(r"javascript:|<(iframe|object|embed|base)\b", answer.text)


# --- hostile text


def test_hostile_text_is_escaped_on_every_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, names = small.HOSTILE, tuple(question.name for question in small.QUESTIONS)
    questions = [
        replace(one, text=bad, ends=(bad, bad), options=(" ".join(bad.split()), "sad")) for one in small.QUESTIONS
    ]
    texts = ("study_id", "title", "consent", "instructions", "sensitive", "retention", "completion_code")
    study = replace(small.STUDY, completion_url=f"https://end.example/?{bad}", **dict.fromkeys(texts, bad))
    monkeypatch.setattr(small, "QUESTIONS", (*questions, Question(bad, "pair", bad)))
    monkeypatch.setattr(small, "STUDY", study)
    place, app = site(small.small_study(tmp_path / "s", questions=(*names, bad)).folder)
    visitor, boss = Visitor(app), owner(app, place)
    found, reports = recorded(visitor), recorded(boss)
    visitor.join().send("warning", see="all")
    visitor.get("/stop")
    visitor.answer_all(first)
    for path in ("/done", "/nothing", "/shown/<script>alert", "/<script>alert"):
        visitor.get(path)
    for path in ("/owner", "/report", "/report.json"):
        boss.get(path)
    escaped = set()
    for answer in (*found, *reports, login(app, bad)):
        check(answer)
        if "html" in answer.headers.get("content-type", ""):
            assert "<script>alert" not in answer.text
            assert "</textarea>" not in answer.text
            escaped |= {answer.url.path} if "&lt;script&gt;alert" in answer.text else set()
    pages = {"/", "/warning", "/instructions", "/task", "/feedback", "/stop", "/done", "/nothing", "/owner", "/report"}
    assert pages <= escaped
    assert any('class="text">&lt;script&gt;alert' in answer.text for answer in found)
    assert " ".join(bad.split()) in [
        row["label"] for row in place.database.rows(sa.select(judgments))
    ]  # it went through an attribute


def test_every_answer_has_a_strict_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, app = opened(tmp_path, limits=replace(AMPLE, person_burst=30, per_person=1e-9))
    visitor = Visitor(app)
    found = recorded(visitor)
    visitor.get("/task")
    visitor.join()
    name = images(visitor.get("/task").text)[0]
    for path in (name, name.replace("shown", "still"), "static/study.js", "static/x", "owner", "report", "feedback"):
        visitor.get(f"/{path}")
    for path in ("/consent", "/shown/", "/static/../app.py", "/docs", "/openapi.json"):
        visitor.get(path)
    visitor.client.post("/answer", data={"token": "x", "position": 0, "trial": "x", "choice": "x"})
    visitor.client.post("/answer", content=b"x" * 20_000)
    visitor.get("/", x="x" * 5_000)
    for error in (RuntimeError, OSError):
        monkeypatch.setattr(Database, "rows", lambda *_, error=error, **__: (_ for _ in ()).throw(error()))
        visitor.get("/task")
    for _ in range(30):
        visitor.get("/nothing")
    for answer in found:
        check(answer)
    assert {answer.status_code for answer in found} == {200, 303, 400, 401, 403, 404, 405, 413, 414, 429, 500, 503}


# --- forms


@pytest.mark.parametrize("action", FORMS)
def test_a_form_that_is_not_the_visitors_own_changes_nothing(tmp_path: Path, action: str) -> None:
    place, app = opened(tmp_path, sensitive="Spiders.", live=True, practice=0)
    (visitor, fields), (other, others) = ready(app, action), ready(app, action)
    before, nobody = stored(place), Visitor(app)
    forged = [others["token"], "\u00e9" * 64, "x", "", fields["token"][:-1], None]
    sent = [(visitor, token) for token in forged] + [(nobody, fields["token"]), (other, fields["token"])]
    for sender, token in sent:
        wrong = {name: value for name, value in (fields | {"token": token}).items() if value is not None}
        assert sender.client.post(f"/{action}", data=wrong).status_code == (403 if token else 400), token
    assert stored(place) == before
    assert visitor.client.post(f"/{action}", data=fields).status_code == 200
    assert stored(place) != before
    posts = {route.path[1:] for route in app.app.routes if "POST" in (getattr(route, "methods", None) or ())}
    assert posts == {*FORMS, "owner-login"}  # which changes nothing, and needs the token itself


# --- what is shown


def test_only_what_is_shown_is_given(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    good = place.shown.add(np.zeros((4, 4, 3), np.uint8))
    place.shown.note([(0, good)])
    hidden = (f"shown/{HASH}.svg", f"shown/{HASH}.html", f"shown/{HASH}", f"{HASH}.png", f"shown/{good}.part")
    for path in hidden:
        (place.folder / path).write_text("HIDDEN")
    names = [
        "../judgments.db", "../study.json", "..%2fstudy.json", "%2e%2e/study.json", "%2e%2e%2fstudy.json", "..", ".",
        "..\\study.json", "study.json", "judgments.db", "/etc/passwd", "//etc/passwd", "index.csv", "index.csv\0.png",
        str(place.folder / "study.json"), f"{good}\0", f"{good}\n", f"\0{good}", f" {good}", f"./{good}", good.upper(),
        f"../shown/{good}", "", "~", "x" * 3_000, *(Path(x).name for x in hidden), *(f"../{x}" for x in hidden),
    ]  # fmt: skip
    for path in (f"/{under}/{name}" for name in names for under in ("shown", "still")):
        status, headers, body = raw(app, path)
        assert (status, headers["content-type"][:9], b"HIDDEN" in body) == (404, "text/html", False), path
    assert raw(app, f"/shown/{good}")[2] == (place.folder / "shown" / good).read_bytes()


def test_what_is_shown_has_its_type(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    frames = np.arange(2 * 48, dtype=np.uint8).reshape(2, 4, 4, 3)
    kinds = {"text/plain; charset=utf-8": "<script>alert(1)</script>", "image/png": frames[0], "image/apng": frames}
    for kind, content in kinds.items():
        name = place.shown.add(content)
        status, headers, _ = raw(app, f"/shown/{name}")
        assert (status, headers["content-type"], headers["x-content-type-options"]) == (200, kind, "nosniff")
    assert raw(app, f"/still/{name}")[1]["content-type"] == "image/png"


def test_a_damaged_animation_has_no_still(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    name = place.shown.add(np.arange(2 * 48, dtype=np.uint8).reshape(2, 4, 4, 3))
    whole = (place.shown.folder / name).read_bytes()
    for damaged in (whole[:60], whole.replace(b"IDAT", b"ID\0T", 1), whole.replace(b"\0\0\0\4", b"\0\1\0\0")):
        assert damaged != whole
        (place.shown.folder / name).write_bytes(damaged)
        assert raw(app, f"/still/{name}")[0] == 404
    (place.shown.folder / name).write_bytes(whole)
    assert raw(app, f"/still/{name}")[0] == 200  # the damage is not remembered


def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    (place.shown.folder / f"{HASH}.txt").symlink_to(place.folder / "study.json")
    assert raw(app, f"/shown/{HASH}.txt")[0] == 404


def test_a_text_has_no_still(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    assert raw(app, f"/still/{place.shown.add('a story')}")[0] == 404


def test_a_refusal_is_not_kept(tmp_path: Path) -> None:
    _, app = opened(tmp_path, limits=replace(AMPLE, host_burst=1, per_host=1e-9))
    assert "public" in raw(app, "/static/study.css")[1]["cache-control"]
    assert "public" not in raw(app, "/static/study.css")[1]["cache-control"]


# --- SQL


def unbound(source: str) -> list[str]:
    """Calls that take SQL as text which is not a constant."""
    found, tree = [], ast.parse(source)
    own = {  # what a module calls by a bare name
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sqlalchemy")
        for alias in node.names
        if alias.name == "text"
    }
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args):
        name, given = ast.unparse(node.func), node.args[0]
        textual = name in ("sa.text", "sqlalchemy.text", *own) or name.endswith(("exec_driver_sql", "literal_column"))
        built = name.endswith(("execute", "scalar", "scalars")) and isinstance(given, ast.JoinedStr | ast.BinOp)
        found += [ast.unparse(node)] * (built or (textual and not isinstance(given, ast.Constant)))
    return found


def test_no_sql_is_put_together_from_text() -> None:
    package = Path(qdfeedback.__file__).parent
    sources = {path: path.read_text() for part in ("study", "feedback") for path in (package / part).rglob("*.py")}
    assert len(sources) > 30
    assert {path.name: unbound(source) for path, source in sources.items() if unbound(source)} == {}
    bare = "from sqlalchemy import text as t\n"
    assert unbound(f"{bare}t('SELECT ' + x)") == ["t('SELECT ' + x)"]
    for bad in ("sa.text(f'SELECT {x}')", "c.exec_driver_sql(x)", "c.execute('SELECT ' + x)", "sa.literal_column(x)"):
        assert unbound(bad) == [bad]


@pytest.mark.parametrize("evil", SQL)
def test_sql_in_a_parameter_is_text(tmp_path: Path, evil: str) -> None:
    place, app = opened(tmp_path, sensitive="Spiders.", live=True, practice=0, raters_per_trial=50)
    Visitor(app).join(PROLIFIC_PID=PID, SESSION_ID="s").send("warning", see="all")
    secrets.new_token(place.database, "s")
    before, stranger = stored(place), Visitor(app)
    for name in ("PROLIFIC_PID", "SESSION_ID", "workerId", "assignmentId", "turkSubmitTo", "new", evil):
        for known in ({"PROLIFIC_PID": "a"}, {"workerId": "a"}, {}):
            assert stranger.get("/", **(known | {name: evil})).status_code in (200, 400)
    for cookie in (f"{RATER}={evil}", f"{OWNER}={evil}", f'{RATER}="{evil}"'):
        for path, status in {"/task": 401, "/owner": 401, "/report.json": 303}.items():
            assert raw(app, path, ("cookie", cookie))[0] == status
    assert login(app, evil).status_code == 401
    assert stored(place) == before
    for action in FORMS:
        for name in ready(app, action)[1]:
            visitor, fields = ready(app, action)
            more = {"platform": "prolific", "person": "a"} if name in ("person", "session", "submit_to") else {}
            assert visitor.client.post(f"/{action}", data=fields | more | {name: evil}).status_code < 500
            assert visitor.get("/feedback", position=evil).status_code == 400
    after = stored(place)
    assert all(set(rows) <= set(after[table]) for table, rows in before.items())
    assert evil not in str(after)
    assert {row["response_ms"] for row in place.database.rows(sa.select(judgments))} == {None}  # ms is left out


# --- who somebody is


def test_a_platforms_id_is_kept_in_one_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place, app = opened(tmp_path)
    visitor, boss = Visitor(app), owner(app, place)
    visitor.get("/", PROLIFIC_PID=PID, SESSION_ID=SESSION)
    assert PID in visitor.page.text  # their own form, before they agree
    found, reports = recorded(visitor), recorded(boss)
    visitor.send("consent", agree="yes")
    visitor.answer_all(first)
    for path in ("/done", "/instructions", "/owner", f"/?PROLIFIC_PID={PID}&SESSION_ID={SESSION}"):
        visitor.get(path)
    for path in ("/owner", "/report", "/report.json"):
        boss.get(path)
    visitor.client.post("/answer", data={"token": PID, "trial": PID})
    tables = stored(place)
    assert len(tables.pop("identities")) == 1
    assert tables["judgments"]
    cookie = visitor.client.cookies[RATER]
    for secret in (PID, SESSION, cookie):
        assert secret not in str(tables) + caplog.text
        for answer in (*found, *reports):
            assert secret not in answer.text + str(answer.headers).replace(f"{RATER}={cookie};", "")
    mac = hmac.new(KEY, f"s|rater|prolific|{PID}".encode(), hashlib.sha256).hexdigest()
    assert place.database.value(sa.select(raters.c.rater_id)) == mac[:16]


def test_an_error_puts_no_platform_id_into_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place, app = opened(tmp_path)
    with place.database.engine.begin() as connection:
        identities.drop(connection)
    visitor = Visitor(app)
    visitor.get("/", PROLIFIC_PID=PID)
    assert visitor.send("consent", agree="yes").status_code == 503
    assert PID not in caplog.text


def test_nobody_stands_between_a_person_and_their_deletion(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    visitor = Visitor(app).join(PROLIFIC_PID=PID)
    mine = place.database.value(sa.select(raters.c.rater_id))
    Visitor(app).join(PROLIFIC_PID=mine)
    visitor.get("/stop")
    visitor.send("withdraw", answers="delete")
    assert mine not in [row["rater_id"] for row in place.database.rows(sa.select(raters))]


def test_a_cookie_cannot_be_chosen(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    visitor = Visitor(app).join(PROLIFIC_PID=PID)
    visitor.get("/task")
    (row,) = place.database.rows(sa.select(raters))
    token, form = visitor.client.cookies[RATER], visitor.form("answer").fields["token"]
    chosen = ["", row["rater_id"], row["token_hash"], row["token_hash"][:32], PID, form, form[:32], token[:-1], "%"]
    for cookie in (*chosen, token + "x", token.swapcase(), token[::-1], "_" * 32, "0" * 32, "None", f"{token}\0"):
        assert raw(app, "/task", ("cookie", f"{RATER}={cookie}"))[0] == 401, cookie
    assert raw(app, "/task", ("cookie", f"{RATER}={token}"))[0] == 200


def test_nobody_answers_what_was_not_planned_for_them(tmp_path: Path) -> None:
    rules = {"trials_per_rater": 3, "raters_per_trial": 1, "catch_per_rater": 0, "practice": 0, "repeats": 0.0}
    place, app = opened(tmp_path, **rules)
    (_, theirs), (visitor, own) = ready(app, "answer"), ready(app, "answer")
    before = stored(place)
    for position in (-1_000_000, -2, -1, 0, 1, 2, 3, 10**6, 10**30):
        for trial in (theirs["trial"], "catch/0", "practice/0", "", "nothing"):
            sent = own | {"trial": trial, "position": str(position)}
            assert visitor.client.post("/answer", data=sent).status_code in (200, 400)
    assert visitor.client.post("/answer", data=theirs).status_code == 403
    assert stored(place) == before
    visitor.client.post("/answer", data=own)
    assert [row["trial_id"] for row in place.database.rows(sa.select(judgments))] == [sealed(place)[own["trial"]]]


def test_no_page_tells_which_answers_are_obvious(tmp_path: Path) -> None:
    place, app = opened(tmp_path, practice=0)
    visitor = Visitor(app).join()
    kinds = set()

    def choose(form: Form) -> str:
        assert not re.search("catch|repeat|obvious|expected", visitor.page.text)
        kinds.add(
            next(
                row["kind"]
                for row in place.database.rows(sa.select(trials))
                if row["trial_id"] == meant[form.fields["trial"]]
            )
        )
        return "left"

    meant = sealed(place)
    visitor.answer_all(choose)
    assert kinds == {"main", "catch"}


def test_what_is_no_option_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "STUDY", replace(small.STUDY, skip=False))
    place, app = site(small.small_study(tmp_path / "s").folder)
    visitor, offered = Visitor(app).join(), set()
    wrong = {"", "left ", "skip", "tie", "LEFT", "up", "value", "label", "5", "-1", "1.0", "1e0", "²", "01", "sad"}

    def choose(form: Any) -> str:
        choices = frozenset(value for _, value in form.buttons)
        before = stored(place)
        for choice in wrong - choices if choices not in offered else ():
            assert visitor.client.post("/answer", data=form.fields | {"choice": choice}).status_code == 400, choice
        assert stored(place) == before
        offered.add(choices)
        return first(form)

    visitor.answer_all(choose)
    assert len(offered) == 4


# --- the owner


def test_the_key_and_the_token_are_the_owners_alone(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, _ = opened(tmp_path)
    configs: list[uvicorn.Config] = []
    run = lambda server, sockets: (configs.append(server.config), sockets[0].close())  # noqa: E731
    monkeypatch.setattr(uvicorn.Server, "run", run)
    said, old = [], os.umask(0)
    try:
        for fresh in (False, False, True):
            serve(place, host="127.0.0.1", port=0, fresh_token=fresh)
            said += re.findall(r"token (\S{24})", capsys.readouterr().out)
    finally:
        os.umask(old)
    assert [config.access_log for config in configs] == [False] * 3  # addresses hold platform ids
    assert [login(configs[2].app, token).status_code for token in said] == [401, 200]
    assert stored(place)["owners"] == [("s", hashlib.sha256(said[1].encode()).hexdigest())]
    (path,) = [path for path in state.rglob("*") if path.is_file()]
    assert path == secrets.key_path("s")
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent)] == [0o600, 0o700]
    kept = b"".join(path.read_bytes() for path in place.folder.rglob("*") if path.is_file())
    for secret in (said[0].encode(), said[1].encode(), path.read_bytes(), secrets.study_key("s")):
        assert secret not in kept


def test_the_owners_pages_need_the_token(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    token = str(secrets.new_token(place.database, "s"))
    wrong = ["x", token[:-1], token + "x", token.swapcase(), hashlib.sha256(token.encode()).hexdigest(), "\xe9", "None"]
    for path in ("/owner", "/report", "/report.json"):
        assert raw(app, path, ("cookie", f"{OWNER}={token}"))[0] == 200
        for cookie in (*(f"{OWNER}={one}" for one in wrong), f"{RATER}={token}", "", OWNER, f"{OWNER}="):
            status, _, body = raw(app, path, ("cookie", cookie))
            assert (status, b"Report" in body) == (401 if path == "/owner" else 303, False)
            assert path == "/owner" or not body


def test_wrong_tokens_make_their_own_address_wait(tmp_path: Path) -> None:
    now = [1_000.0]
    plain_study(tmp_path / "s")
    place, app = site(tmp_path / "s", limits=Limits(), clock=lambda: now[0])
    token = str(secrets.new_token(place.database, "s"))
    kind = ("content-type", URLENCODED)

    def tried(given: str, host: str = "192.0.2.1") -> tuple[int, Headers, bytes]:
        return raw(app, "/owner-login", kind, body=f"token={given}".encode(), method="POST", client=(host, 1))

    assert [tried(token)[0] for _ in range(20)] == [303] * 20, "who has the token may come as often as they like"
    assert [tried("x")[0] for _ in range(10)] == [401] * 10
    status, headers, body = tried(token)
    assert (status, headers["retry-after"]) == (429, "6")
    assert b"Too many wrong tokens came from your network address: wait 6 seconds" in body
    assert b"That is not the token" not in body
    assert "set-cookie" not in headers
    assert tried(token, "192.0.2.2")[0] == 303, "from another address it opens"
    now[0] += 5.5
    assert b"wait 1 second," in tried(token)[2]
    now[0] += 0.5
    assert tried(token)[0] == 303, "and from the same one after the wait"
    assert [tried("x")[0] for _ in range(2)] == [401, 429]
    now[0] += 3_600
    assert [tried("x")[0] for _ in range(11)] == [401] * 10 + [429], "what was long ago is forgotten"


def test_the_environments_key_is_used(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {name: secrets.study_key(name) for name in ("s", "t", "../s")}
    assert len(set(own.values())) == 3
    assert {name: secrets.study_key(name) for name in own} == own
    assert {path.parent for path in state.rglob("*") if path.is_file()} == {state / "qdfeedback"}
    monkeypatch.setenv(secrets.VARIABLE, "x" * secrets.LEAST)
    assert secrets.study_key("s") == secrets.study_key("s") not in {*own.values(), secrets.study_key("t")}
    for short in ("", "x" * (secrets.LEAST - 1)):
        monkeypatch.setenv(secrets.VARIABLE, short)
        with pytest.raises(ValueError, match="at least 16"):
            secrets.study_key("s")


@pytest.mark.parametrize("content", ["", "00"])
def test_a_damaged_key_is_refused(content: str) -> None:
    secrets.study_key("s")
    secrets.key_path("s").write_text(content)
    with pytest.raises(ValueError, match="key"):
        secrets.study_key("s")


# --- how much


def test_what_is_too_large_changes_nothing(tmp_path: Path) -> None:
    place, app = opened(tmp_path, practice=0)
    visitor, fields = ready(app, "answer")
    cookie, kind = ("cookie", f"{RATER}={visitor.client.cookies[RATER]}"), ("content-type", URLENCODED)
    before, body = stored(place), (urlencode(fields) + "&x=").encode() + b"x" * 16_384
    assert visitor.client.post("/answer", content=body, headers=dict([kind])).status_code == 413
    chunks = (body[i : i + 1_000] for i in range(0, len(body), 1_000))
    assert visitor.client.post("/answer", content=chunks, headers=dict([kind])).status_code == 413
    assert raw(app, "/answer", cookie, kind, ("content-length", "10"), body=body, method="POST")[0] == 413
    for length in ("16385", "-1", "+5", "1.5", "x", ""):
        assert raw(app, "/task", cookie, ("content-length", length))[0] == 413
    assert raw(app, "/task", cookie, query_string=b"x" * 4_096)[0] == raw(app, "/" + "x" * 5_000)[0] == 414
    assert stored(place) == before
    assert visitor.client.post("/answer", content=body[:-16_000], headers=dict([kind])).status_code == 200
    assert stored(place) != before


@pytest.mark.parametrize("length", ["\xb2", "9" * 5_000], ids=["superscript", "long"])
def test_a_length_that_is_no_number_is_refused(tmp_path: Path, length: str) -> None:
    assert raw(opened(tmp_path)[1], "/task", ("content-length", length))[0] == 413


def test_too_many_requests_are_refused(tmp_path: Path) -> None:
    _, app = opened(tmp_path, limits=Limits(per_person=1e-9, person_burst=3, per_host=1e-9, host_burst=8))
    one, two = (("cookie", f"{RATER}={letter * 32}") for letter in "ab")
    assert [raw(app, "/task", one, ("host", "h/static/?"))[0] for _ in range(5)] == [401] * 3 + [429] * 2
    assert raw(app, "/task", two)[0] == 401
    assert [raw(app, f"/{i}", ("cookie", f"{RATER}={i}"))[0] for i in range(4)] == [404, 404, 429, 429]
    assert raw(app, "/static/study.css")[1]["retry-after"] == "5"
    assert raw(app, "/task", client=("192.0.2.1", 1))[0] == 401  # another host
    neighbours = [raw(app, "/task", client=(f"2001:db8::{i}", 1))[0] for i in range(9)]
    assert neighbours == [401] * 8 + [429], "addresses of one network count together"
    assert raw(app, "/task", client=("2001:db8:0:1::1", 1))[0] == 401
    now = [0.0]
    buckets = Buckets(2.0, 4.0, clock=lambda: now[0])
    assert [buckets.take("x") for _ in range(5)] == [True] * 4 + [False]
    now[0] = 0.5
    assert [buckets.take("x") for _ in range(2)] == [True, False]
    for i in range(30_000):
        now[0] += 0.01
        buckets.take(str(i))
    assert len(buckets._left) <= 20_001  # whoever makes up names fills no memory


# --- cookies, and where answers lead


@pytest.mark.parametrize("mturk", [False, True])
@pytest.mark.parametrize("url", ["", "http://s.example", "https://s.example"])
def test_cookies_are_for_this_site_alone(tmp_path: Path, url: str, mturk: bool) -> None:
    place, app = opened(tmp_path, public_url=url, mturk=mturk)
    secure = url.startswith("https")
    given = raw(app, "/")[1]["set-cookie"].lower().split("; ")[1:]
    embedded = ["samesite=none", "partitioned"] if mturk and secure else ["samesite=lax"]
    assert sorted(given) == sorted(["path=/", "max-age=5184000", "httponly", *embedded, *["secure"] * secure])
    headers = login(app, secrets.new_token(place.database, "s"), follow_redirects=False).headers
    assert {"httponly", "samesite=strict", *["secure"] * secure} <= {*headers["set-cookie"].lower().split("; ")}
    assert ("strict-transport-security" in headers) == secure
    forms, frames = (["'self'", *SUBMIT], MTURK) if mturk else (["'self'"], ["'none'"])
    wanted = f"form-action {' '.join(forms)}; frame-ancestors {' '.join(frames)}"
    assert headers["content-security-policy"].endswith(wanted)


def test_a_hit_is_handed_in_at_mturk_alone(tmp_path: Path) -> None:
    place, app = opened(tmp_path, mturk=True)
    visitor = Visitor(app)
    visitor.get("/", workerId="A1", assignmentId="a", turkSubmitTo=SUBMIT[1] + "/")
    form = visitor.form("consent").fields | {"agree": "yes"}
    for to in NOT_MTURK:
        assert visitor.get("/", workerId="A1", assignmentId="a", turkSubmitTo=to).status_code == 400
        for platform in ("mturk", "prolific", "made up", ""):
            sent = form | {"submit_to": to, "platform": platform}
            assert visitor.client.post("/consent", data=sent).status_code == 400
    assert stored(place)["raters"] == []
    for to in NOT_MTURK:  # it says nothing of somebody who came by a plain link
        assert visitor.client.post("/consent", data=form | {"submit_to": to, "platform": "link"}).status_code == 200
    assert stored(place)["identities"] == []
    visitor.answer_all(first)
    assert not re.search("evil|mturk", visitor.get("/done").text)


@pytest.mark.parametrize("path", ["/task/", "/owner/", "/static"])
def test_no_host_is_led_to_that_a_header_names(tmp_path: Path, path: str) -> None:
    assert "evil" not in raw(opened(tmp_path)[1], path, ("host", "evil.example"))[1].get("location", "")


def test_the_last_link_leads_to_a_web_page(tmp_path: Path) -> None:
    plain_study(tmp_path / "s", completion_url="https://end.example/{code}")
    path = tmp_path / "s" / "study.json"
    for url in ("javascript:alert(1)", "JavaScript:x", " https://x", "data:x", "//x", "x", "/x", "ftp://x", "https:x"):
        with pytest.raises(ValueError, match="completion_url"):
            Study("s", (ALIKE,), completion_url=url)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"completion_url": url}))
        with pytest.raises(ValueError, match="completion_url"):
            read_study(tmp_path / "s")


# --- what errors tell


@pytest.mark.parametrize("error", [sa.exc.OperationalError, RuntimeError, OSError, ValueError])
def test_a_broken_database_tells_visitors_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    place, app = opened(tmp_path, practice=0)
    told = ("SELECT token_hash FROM raters", {}, OSError(f"sqlite:////home/x/{place.folder}/judgments.db"))
    (visitor, fields), boss = ready(app, "answer"), owner(app, place)

    def fail(*_: Any, **__: Any) -> None:
        raise error(*(told if error is sa.exc.OperationalError else (str(told),)))

    paths = ("/", "/?PROLIFIC_PID=a", "/task", "/stop", "/done", "/instructions", "/feedback?position=-1")
    for broken in ("rows", "value", "writing"):
        with monkeypatch.context() as patch:
            patch.setattr(Database, broken, fail)
            answers = [boss.get(path) for path in ("/owner", "/report", "/report.json")]
            answers += [visitor.get(path) for path in paths]
            for action, more in FORMS.items():
                answers.append(visitor.client.post(f"/{action}", data=fields | {"platform": "link"} | more))
        assert any(answer.status_code >= 500 for answer in answers)
        for answer in answers:
            check(answer)
            assert not TOLD.search(answer.text)


def test_nonsense_gets_an_answer_that_tells_nothing(tmp_path: Path) -> None:
    place, app = opened(tmp_path)
    visitor, multipart = Visitor(app).join(), "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="token"%s\r\n\r\n\\ud800\x00\xff\r\n--x--\r\n'
    bodies = [(b"", ""), (b"{", "application/json"), (b"\0\xff=&=&&token=%zz%00&position=1e9", URLENCODED)]
    bodies += [(b"x", "multipart/form-data"), (part % b'; filename="../x"', multipart)]
    bodies += [(part % b"", f"{multipart}; charset={name}") for name in ("utf-7", "idna", "unicode_escape")]
    paths = {route.path.replace("{name}", "%00\u202e") for route in app.app.routes} | {"/%ff/..", "/shown/", "/\u2603"}
    before = stored(place)
    for path in paths:
        methods = ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "X")
        answers = [visitor.client.request(method, path) for method in methods]
        answers += [visitor.client.post(path, content=body, headers={"Content-Type": kind}) for body, kind in bodies]
        answers.append(visitor.get(path, position="9" * 3_000, PROLIFIC_PID="\0", **{"\0": "\u202e"}))
        for answer in answers:
            check(answer)
            assert answer.status_code < 500, (path, answer.request.method)
            assert not TOLD.search(answer.text)
    assert stored(place) == before
