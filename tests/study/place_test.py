"""Folders that somebody sent: what they name elsewhere needs the owner's word, and reading changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from qdfeedback import files
from qdfeedback.cli import main
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.study import read_study, write_study
from qdfeedback.study.place import open_study
from tests.study.small_study import small_study

COMMANDS = {
    "serve": ("serve", "{}", "--port", "0"),
    "report": ("report", "{}"),
    "export": ("export", "{}", "{}-out"),
    "import": ("import", "{}", "x.jsonl"),
    "delete-rater": ("delete-rater", "{}", "8f3a"),
}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = small_study(tmp_path_factory.mktemp("place") / "s")
    small.store.close()
    return small.folder


@pytest.fixture
def sent(tmp_path: Path, study: Path) -> Path:
    """A study that came from somebody, whose database lies in it."""
    return Path(shutil.copytree(study, tmp_path / "sent"))


def names(folder: Path, database: object) -> None:
    files.write_json(folder / "settings.json", {"format": 1, "settings": {"database": database}})


def whole(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(command: str, folder: Path, capsys, *more: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["study", *(word.format(folder) for word in COMMANDS[command]), *more])
    assert stopped.value.code == 1
    lines = str(capsys.readouterr().err).splitlines()
    assert [line.split(":")[0] for line in lines if not line.startswith("opening the study")] == ["error"]
    return lines[-1]


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_database_elsewhere_needs_the_owners_word(sent: Path, tmp_path: Path, command: str, capsys) -> None:
    (sent / "judgments.db").rename(tmp_path / "mine.db")
    names(sent, str(tmp_path / "mine.db"))
    before = whole(tmp_path)
    line = refused(command, sent, capsys)
    assert f"has its database elsewhere, at {tmp_path / 'mine.db'}: " in line
    assert "name it yourself, with --database" in line
    assert whole(tmp_path) == before


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("how", ["relative", "url", "link", "folder link"])
def test_ways_that_lead_elsewhere(sent: Path, tmp_path: Path, how: str, write: bool, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "mine" / "judgments.db"
    target.parent.mkdir()
    (sent / "judgments.db").rename(target)
    if how == "link":
        (sent / "judgments.db").symlink_to(target)
    elif how == "folder link":
        (sent / "within").symlink_to(target.parent)
        names(sent, str(sent / "within" / "judgments.db"))
    else:
        names(sent, {"relative": "sent/../mine/judgments.db", "url": f"sqlite:///{target}"}[how])
    with pytest.raises(ValueError, match=re.escape(f"has its database elsewhere, at {target}: ")):
        open_study(sent, write=write)


def test_the_owner_is_told_a_long_path_whole(sent: Path, tmp_path: Path) -> None:
    target = tmp_path / ("a folder  of mine " * 10).strip() / "judgments.db"
    target.parent.mkdir()
    (sent / "judgments.db").rename(target)
    names(sent, str(target))
    with pytest.raises(ValueError, match=re.escape(f"has its database elsewhere, at {target}: if you trust")):
        open_study(sent, write=True)
    names(sent, f"/nowhere/{'x' * 5000}.db")
    with pytest.raises(ValueError, match=r"elsewhere, at /nowhere/x+…: if you trust") as refusal:
        open_study(sent, write=True)
    assert len(str(refusal.value)) < len(str(sent)) + 250


@pytest.mark.parametrize("write", [True, False])
def test_a_server_needs_the_owners_word(sent: Path, write: bool) -> None:
    names(sent, "postgresql+psycopg://me@evil.example/x")
    with pytest.raises(ValueError, match=r"elsewhere, at postgresql\+psycopg://me@evil.example/x: if you trust"):
        open_study(sent, write=write)


@pytest.mark.parametrize("command", list(COMMANDS))
@pytest.mark.parametrize("named", [True, False], ids=["in the folder", "by the owner"])
def test_a_database_of_another_program_gets_nothing_of_ours(
    sent: Path, tmp_path: Path, command: str, named: bool, capsys
) -> None:
    place = (sent if named else tmp_path) / "notes.db"
    with closing(sqlite3.connect(place)) as connection:
        connection.executescript("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine');")
    if named:
        names(sent, str(place))
    before = whole(tmp_path)
    line = refused(command, sent, capsys, *([] if named else ["--database", str(place)]))
    assert "notes.db is no judgment store, it holds other tables (notes): it is left as it is" in line
    assert whole(tmp_path) == before


@pytest.mark.parametrize("value", [7, ["judgments.db"], {"a": 1}, True])
def test_a_database_that_is_no_text(sent: Path, value: object, capsys) -> None:
    names(sent, value)
    assert "must name its database as text" in refused("report", sent, capsys)


NOWHERE = [
    "sqlite:///:memory:", "sqlite://", "sqlite:///file:x?mode=memory", "nonsense://x", "://", "a\0b", "\ud800",
    "postgresql://h:x/d", "x" * 5000, f"sqlite:///{'x' * 5000}", "sqlite+pysqlite:///a?x=1",
]  # fmt: skip


@pytest.mark.parametrize("value", NOWHERE, ids=range(len(NOWHERE)))
def test_a_url_that_leads_nowhere(sent: Path, value: str) -> None:
    names(sent, value)
    before = whole(sent)
    with pytest.raises(ValueError, match=r"must name its database|elsewhere") as caught:
        open_study(sent)
    assert str(sent) in str(caught.value)
    assert len(str(caught.value)) < 400
    assert whole(sent) == before


@pytest.mark.parametrize("named", [None, "{}/judgments.db", "sqlite:///{}/judgments.db", "{}/../sent/judgments.db"])
def test_a_database_in_the_folder_needs_no_word(sent: Path, named: str | None) -> None:
    if named is not None:
        names(sent, named.format(sent))
    place = open_study(sent)
    assert len(Store(place.database).records("s-1")) == 9
    place.database.close()


def test_the_owners_word_is_enough(sent: Path, tmp_path: Path, capsys) -> None:
    names(sent, str(tmp_path / "elsewhere.db"))
    (sent / "judgments.db").rename(tmp_path / "elsewhere.db")
    main(["study", "export", str(sent), f"{sent}-out", "--database", str(tmp_path / "elsewhere.db")])
    assert "9 records" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["report", "export"])
def test_who_only_reads_changes_nothing(sent: Path, tmp_path: Path, command: str, capsys) -> None:
    """Neither the database nor its neighbours; also on a disk that cannot be written."""
    os.chmod(sent / "judgments.db", 0o400)
    before = whole(sent)
    more = ["--out", str(tmp_path / "out")] if command == "report" else []
    main(["study", *(word.format(sent) for word in COMMANDS[command]), *more])
    assert whole(sent) == before


def test_what_a_search_writes_meanwhile_is_read(tmp_path: Path, capsys) -> None:
    small = small_study(tmp_path / "s")
    main(["study", "export", str(small.folder), str(tmp_path / "out")])
    assert "9 records" in capsys.readouterr().out
    assert small.store.append([small.store.records("s-1")[0] | {"id": 99, "annotator_id": "new"}]) == 1
    small.store.close()


@pytest.mark.parametrize("command", ["report", "export"])
def test_the_database_of_another_study_is_no_empty_study(sent: Path, tmp_path: Path, command: str, capsys) -> None:
    write_study(sent, read_study(sent).__class__(**(vars(read_study(sent)) | {"study_id": "s-2"})))
    assert "asks nothing for study 's-2': it is another study's" in refused(command, sent, capsys)


@pytest.mark.parametrize("content", [b"", None], ids=["emptied", "deleted"])
@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_database_that_is_gone_is_not_made_anew(sent: Path, command: str, content: bytes | None, capsys) -> None:
    (sent / "judgments.db").unlink()
    if content is not None:
        (sent / "judgments.db").write_bytes(content)
    before = whole(sent)
    line = refused(command, sent, capsys)
    assert ("has no judgments.db" if content is None else "judgments.db is empty: what it held is gone") in line
    assert whole(sent) == before
