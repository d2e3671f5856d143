from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from qdfeedback import sqlite_files
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.opening import POOL
from qdfeedback.feedback.store import Store
from qdfeedback.feedback.tables import SCHEMA, items, judgments, meta, trials
from qdfeedback.sqlite_files import StoreError

SECRET = "what somebody answered"
VERSION_1 = Path(__file__).parent / "judgments_schema_1.sql"


def answer(n: int = 0, **more: Any) -> dict[str, Any]:
    row = {"study_id": "s", "trial_id": str(n), "task": "triplet", "kind": "main", "purpose": "random"}
    row |= {"anchor_id": "0", "left_id": "1", "right_id": "2", "choice": "left", "winner_id": "1"}
    return row | {"annotator_kind": "person", "annotator_id": "p", "answered_utc": "2026-01-01"} | more


def kept(path: Path, n: int = 3) -> Store:
    store = Store(path)
    store.append([answer(i) for i in range(n)])
    return store


def whole(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert "sqlalche" not in text
    assert "[SQL" not in text
    assert SECRET not in text
    return text


# --- durable


def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes SQLite one whose own way is the quickest, as it is in some builds: what counts is what we ask for."""
    connect = sqlite3.connect

    def quick(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        for name in ("synchronous", "secure_delete"):
            connection.execute(f"PRAGMA {name} = OFF")
        return connection

    monkeypatch.setattr(sqlite3, "connect", quick)


def test_what_is_committed_is_on_the_disk(tmp_path: Path, monkeypatch) -> None:
    """Every connection of the pool, old or new, whether it reads or writes."""
    careless(monkeypatch)
    database = Database(tmp_path / "j.db")
    with database.engine.begin() as one, database._reading.connect() as two, database._reading.connect() as three:
        for connection in (one, two, three):
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("synchronous", "journal_mode", "secure_delete", "trusted_schema")
            }
            assert found == {"synchronous": 2, "journal_mode": "wal", "secure_delete": 1, "trusted_schema": 0}


def test_an_answer_is_committed_then_looked_for_then_acknowledged(tmp_path: Path, monkeypatch) -> None:
    database, order = Database(tmp_path / "j.db"), []
    sa.event.listen(database.engine, "commit", lambda _: order.append("committed"))
    known = sqlite_files.gone
    monkeypatch.setattr(sqlite_files, "gone", lambda *a, **k: order.append("looked for") or known(*a, **k))
    with database.writing() as connection:
        connection.execute(sa.insert(judgments), [answer()])
        order.clear()
    order.append("acknowledged")
    assert order == ["committed", "looked for", "acknowledged"]


def test_the_name_of_a_new_file_is_durable(tmp_path: Path, monkeypatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("qdfeedback.files.sync_folder", synced.append)
    Database(tmp_path / "j.db").close()
    Database(tmp_path / "j.db").close()
    assert synced == [tmp_path]


def test_judgments_become_visible_in_the_order_of_their_ids(postgres: str) -> None:
    """On PostgreSQL, where transactions run side by side: else a refit that is repeated could find more than before."""
    study = os.urandom(4).hex()
    first, second, watch = Store(postgres), Store(postgres), Database(postgres)
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'judgments'::regclass AND NOT granted"
    later = threading.Thread(target=lambda: second.append([answer(2, study_id=study)]))
    from qdfeedback.feedback.store import append_judgments

    with first.database.writing() as connection:
        append_judgments(first.database, connection, [answer(1, study_id=study)])
        later.start()
        deadline = time.monotonic() + 30
        while not watch.value(sa.text(waiting)) and later.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert later.is_alive(), "the second answer was there before the first, which has the lower id"
    later.join(30)
    assert [row["trial_id"] for row in first.records(study)] == ["1", "2"]
    for one in (first, second, watch):
        one.close()


# --- gone while it is in use


def deleted(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    shutil.copyfile(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def moved_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def without_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def without_locks(path: Path) -> None:
    path.with_name(f"{path.name}-shm").unlink()


def everything(path: Path) -> None:
    for found in path.parent.glob(f"{path.name}*"):
        found.unlink()


LOSSES = {
    deleted: "deleted or moved while it was in use",
    everything: "deleted or moved while it was in use",
    replaced: "replaced while it was in use",
    moved_folder: "deleted or moved",
    emptied: "was cut from",
    without_log: "deleted or replaced while j.db was in use",
    without_locks: "deleted or replaced while j.db was in use",
}


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_an_answer_that_is_in_no_file_is_not_acknowledged(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    store = kept(folder / "j.db")
    lose(folder / "j.db")
    left = sorted(path.name for path in tmp_path.rglob("*"))
    for use in (lambda: store.append([answer(7)]), lambda: store.count("s"), lambda: store.records("s")):
        with pytest.raises(StoreError) as error:
            use()
        told = line(error.value)
        assert LOSSES[lose] in told
        assert str(folder / "j.db") in told
    assert sorted(path.name for path in tmp_path.rglob("*")) == left, "nothing is made in its place"


def test_a_new_connection_makes_no_new_file(tmp_path: Path) -> None:
    store = kept(tmp_path / "j.db")
    everything(tmp_path / "j.db")
    store.database.engine.dispose()
    with pytest.raises(StoreError, match=r"cannot open the judgment store .*j\.db.*: it is not there"):
        store.append([answer(7)])
    assert list(tmp_path.iterdir()) == []
    kept(tmp_path / "j.db", 5).close()
    with pytest.raises(StoreError, match="is another file now"):
        store.append([answer(7)])


def test_a_file_that_came_back_is_used_again(tmp_path: Path) -> None:
    store = kept(tmp_path / "j.db")
    (tmp_path / "j.db").rename(tmp_path / "away")
    with pytest.raises(StoreError):
        store.count("s")
    (tmp_path / "away").rename(tmp_path / "j.db")
    assert store.append([answer(7)]) == 1
    assert store.count("s") == 4


def test_a_change_of_folder_is_no_loss(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("j.db")
    monkeypatch.chdir("/")
    assert store.append([answer()]) == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".db"] == ["j.db"]


def test_who_waits_for_answers_hears_that_the_store_is_gone(tmp_path: Path) -> None:
    store = kept(tmp_path / "j.db")
    with pytest.raises(StoreError, match="deleted or moved"):
        store.wait("s", 9, tell=lambda _: (tmp_path / "j.db").unlink(missing_ok=True), every=0.0)


# --- reading alone


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    kept(tmp_path / "j.db").close()
    before = whole(tmp_path)
    database = Database(tmp_path / "j.db", write=False)
    assert len(database.rows(sa.select(judgments))) == 3
    assert whole(tmp_path) == before
    with pytest.raises(StoreError, match="read-only"), database.writing() as connection:
        connection.execute(sa.insert(judgments), [answer(9)])
    database.close()
    assert whole(tmp_path) == before


def test_what_others_write_can_be_read(tmp_path: Path) -> None:
    store = kept(tmp_path / "j.db")
    database = Database(tmp_path / "j.db", write=False)
    assert len(database.rows(sa.select(judgments))) == 3, "what lies in the log counts"
    store.append([answer(7)])
    assert len(database.rows(sa.select(judgments))) == 4
    database.close()
    store.close()


def test_what_is_changed_while_it_is_read_is_said(tmp_path: Path) -> None:
    kept(tmp_path / "j.db").close()
    database = Database(tmp_path / "j.db", write=False)
    Store(tmp_path / "j.db").close()
    assert len(database.rows(sa.select(judgments))) == 3, "nothing was written"
    other = kept(tmp_path / "j.db", 5)
    other.close()
    with pytest.raises(StoreError, match="was changed while it was read"):
        database.rows(sa.select(judgments))


def test_a_store_of_the_version_before_is_read_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "j.db")) as connection:
        connection.executescript(VERSION_1.read_text())
    before = whole(tmp_path)
    store = Store(Database(tmp_path / "j.db", write=False))
    assert (len(store.records("s")), store.fingerprint("s").count, store.is_new) == (9, 9, False)
    store.close()
    assert whole(tmp_path) == before


@pytest.mark.parametrize("write", [True, False])
def test_nothing_is_no_store(tmp_path: Path, write: bool) -> None:
    with closing(sqlite3.connect(tmp_path / "j.db")) as connection:
        connection.executescript("CREATE TABLE t (x); DROP TABLE t;")
    before = whole(tmp_path)
    with pytest.raises(ValueError, match="holds no tables: what it held is gone"):
        Database(tmp_path / "j.db", create=False, write=write)
    assert whole(tmp_path) == before


# --- what is not ours


FOREIGN = {
    "another program's": ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text); INSERT INTO notes VALUES (1, 'mine');",
                          r"is no judgment store, it holds other tables \(notes\): it is left as it is"),
    "marked alike": ("CREATE TABLE schema_version (version INTEGER); INSERT INTO schema_version VALUES (1);",
                     "is no judgment store"),
    "a name of ours": ("CREATE TABLE items (id INTEGER PRIMARY KEY); CREATE TABLE keys (id);", "is no judgment store"),
    "names of ours": ("CREATE TABLE judgments (id); CREATE TABLE schema_version (version);"
                      "INSERT INTO schema_version VALUES (1);", "lacks the "),
}  # fmt: skip


@pytest.mark.parametrize("which", list(FOREIGN))
@pytest.mark.parametrize("how", [{}, {"create": False}, {"write": False}], ids=["make", "go on", "read"])
def test_a_database_that_is_not_ours_is_left_alone(tmp_path: Path, which: str, how: dict[str, bool]) -> None:
    script, says = FOREIGN[which]
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection:
        connection.executescript(script)
    before = whole(tmp_path)
    with pytest.raises(ValueError, match=says) as error:
        Database(tmp_path / "theirs.db", **how)
    assert str(tmp_path / "theirs.db") in line(error.value)
    assert whole(tmp_path) == before, "not even its way of keeping a log is changed"


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TRIGGER t AFTER INSERT ON judgments BEGIN DELETE FROM judgments; END",
        "CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT x FROM c",
    ],
)
@pytest.mark.parametrize("how", [{}, {"write": False}], ids=["write", "read"])
def test_a_store_that_somebody_put_code_into_is_refused(tmp_path: Path, script: str, how: dict[str, bool]) -> None:
    kept(tmp_path / "j.db").close()
    with closing(sqlite3.connect(tmp_path / "j.db")) as connection:
        connection.execute(script)
    with pytest.raises(ValueError, match="which no store of ours has: do not use it"):
        Database(tmp_path / "j.db", **how)


def test_a_table_of_others_on_the_server_is_not_taken_for_ours(postgres: str) -> None:
    schema = f"of_{os.urandom(4).hex()}"
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
        connection.execute(sa.text(f"CREATE TABLE {schema}.items (id INTEGER)"))
    url = sa.make_url(postgres).update_query_dict({"options": f"-csearch_path={schema}"})
    where = url.render_as_string(hide_password=False)
    with pytest.raises(ValueError, match=r"is no judgment store, it holds other tables"):
        Database(where)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {schema}.items"))
    with pytest.raises(ValueError, match="holds no judgments yet, or no more"):
        Database(where, create=False)
    database = Database(where)
    assert database.made
    database.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:j.db?mode=memory&uri=true", "without options"),
        ("sqlite:////tmp/j.db?timeout=1", "without options"),
        ("sqlite://host/j.db", "needs a file path or a database URL|without options"),
        ("sqlite+aiosqlite:///j.db", "without options"),
        ("postgresql://a:b:c@:port/", "needs a file path or a database URL"),
    ],
)
def test_urls_that_lead_nowhere(tmp_path: Path, monkeypatch, where: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=says) as error:
        Database(where)
    line(error.value)
    assert list(tmp_path.iterdir()) == []


# --- versions


def changed(path: Path, script: str) -> None:
    kept(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("UPDATE schema_version SET version = 7", rf"has schema 7, this version reads 1 to {SCHEMA}"),
        ("UPDATE schema_version SET version = 0", "has schema 0, this version reads"),
        ("DELETE FROM schema_version", "has schema none, this version reads"),
        ("DROP TABLE schema_version", "was written by an earlier version that noted no schema"),
        ("DROP TABLE raters", "lacks the table raters"),
        ("DROP TABLE erased", "lacks the table erased"),
        ("ALTER TABLE judgments DROP COLUMN value", "lacks the column value of table judgments"),
        ("ALTER TABLE items RENAME note TO remark", "lacks the column note of table items"),
        ("UPDATE judgments SET choice = 'lefd' WHERE id = 2", "table judgments holds a choice that cannot be"),
        ("UPDATE judgments SET left_id = x'31'", r"holds a left_id that cannot be\); 3 of its judgments can be read"),
        ("UPDATE judgments SET response_ms = 'x'", "holds a response_ms that cannot be"),
    ],
)
@pytest.mark.parametrize("write", [True, False])
def test_what_cannot_be_read_is_said_in_a_line(tmp_path: Path, script: str, says: str, write: bool) -> None:
    changed(tmp_path / "j.db", script)
    before = whole(tmp_path)
    with pytest.raises(ValueError, match=says) as error:
        Database(tmp_path / "j.db", write=write)
    assert str(tmp_path / "j.db") in line(error.value)
    assert whole(tmp_path) == before


def test_a_migrated_store_has_what_a_new_one_has(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.executescript(VERSION_1.read_text())
    databases = [Database(tmp_path / "old.db"), Database(tmp_path / "new.db")]
    for table in meta.sorted_tables:
        old, new = (sa.inspect(one.engine).get_columns(table.name) for one in databases)
        assert [column["name"] for column in old] == [column["name"] for column in new]
    assert [one.made for one in databases] == [False, True]
    assert [one.schema for one in databases] == [SCHEMA, SCHEMA]


# --- the system refuses


def test_a_store_that_another_program_holds(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sqlite_files, "WAIT", 0.05)
    store = kept(tmp_path / "j.db")
    with closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"j\.db is locked: another program .* end it and try again") as error:
            store.append([answer(7)])
        line(error.value)
        assert store.count("s") == 3
    assert store.append([answer(7)]) == 1


def test_a_full_disk(tmp_path: Path) -> None:
    store = kept(tmp_path / "j.db")
    sa.event.listen(
        store.database.engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1")
    )
    with pytest.raises(StoreError, match=r"cannot write judgments to .*j\.db: the disk is full") as error:
        store.append([answer(7, label=SECRET * 1000)])
    line(error.value)
    assert store.count("s") == 3


@contextmanager
def as_somebody() -> Iterator[Path]:
    """Gives a folder of theirs to a user who is not root."""
    folder, root = Path(tempfile.mkdtemp(dir="/tmp")), os.geteuid() == 0
    try:
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_file_that_may_not_be_read() -> None:
    with as_somebody() as folder:
        kept(folder / "j.db").close()
        (folder / "j.db").chmod(0)
        for write in (True, False):
            with pytest.raises(ValueError, match=r"cannot open .*j\.db.*: you may not read it") as error:
                Database(folder / "j.db", write=write)
            line(error.value)


def test_a_file_and_a_folder_that_may_not_be_written() -> None:
    with as_somebody() as folder:
        kept(folder / "j.db").close()
        (folder / "j.db").chmod(0o400)
        folder.chmod(0o500)
        reading = Database(folder / "j.db", write=False)
        assert len(reading.rows(sa.select(judgments))) == 3, "a study on a read-only disk can be reported"
        reading.close()
        with pytest.raises(ValueError, match=r"j\.db.*(read-only|you may not write into its folder)") as error:
            Store(folder / "j.db")
        line(error.value)
        with pytest.raises(ValueError, match=r"new\.db.*you may not write into its folder|new\.db.*not there"):
            Store(folder / "new.db")


@pytest.mark.parametrize("create", [True, False])
def test_what_is_no_file(tmp_path: Path, create: bool) -> None:
    (tmp_path / "folder.db").mkdir()
    os.mkfifo(tmp_path / "pipe.db")
    with pytest.raises(ValueError, match=r"folder\.db is a folder, not a judgment store"):
        Store(tmp_path / "folder.db", create=create)
    with pytest.raises(ValueError, match=r"pipe\.db is no ordinary file"):
        Store(tmp_path / "pipe.db", create=create)
    with pytest.raises(ValueError, match=r"there is no (folder .*nowhere|judgment store .*j\.db)"):
        Store(tmp_path / "nowhere" / "j.db", create=create)


def test_all_connections_at_work(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(POOL, "pool_timeout", 0.05)
    monkeypatch.setitem(POOL, "pool_size", 1)
    database = Database(tmp_path / "j.db")
    with database.engine.connect(), pytest.raises(StoreError, match="all connections have been at work"):
        database.value(sa.select(judgments.c.id))


def test_a_server_that_loses_a_table(postgres: str) -> None:
    schema = f"of_{os.urandom(4).hex()}"
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    url = sa.make_url(postgres).update_query_dict({"options": f"-csearch_path={schema}"})
    store = Store(url.render_as_string(hide_password=False))
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {schema}.judgments"))
    with pytest.raises(StoreError, match='relation "judgments" does not exist') as error:
        store.append([answer(label=SECRET)])
    line(error.value)
    store.close()
    engine.dispose()


# --- nothing of what is stored is told


def test_errors_tell_nothing_of_what_is_stored(where: str) -> None:
    """A value that no database takes is a fault of the program; its traceback may lie in a log for years."""
    database = Database(where)
    with (
        pytest.raises(Exception, match="parameters hidden") as error,
        database.writing() as connection,
    ):
        connection.execute(sa.insert(items), {"study_id": SECRET, "item_id": object(), "content": SECRET})
    assert SECRET not in f"{error.value!r} {error.value}"
    with pytest.raises(StoreError) as refused, database.writing() as connection:
        connection.execute(sa.insert(trials), {"study_id": SECRET, "trial_id": SECRET})
    assert SECRET not in line(refused.value)
    assert database.engine.hide_parameters
    assert database._reading.hide_parameters
    database.close()


def test_text_that_is_damaged_is_not_told(tmp_path: Path) -> None:
    store = kept(tmp_path / "j.db")
    with store.database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE judgments SET label = CAST(? AS TEXT) WHERE id = 2", (SECRET.encode() + b"\xff\xfe",)
        )
    with pytest.raises(StoreError, match=r"is damaged \(it holds text that is not UTF-8\); 2 of its") as error:
        store.records("s")
    line(error.value)
    assert error.value.__suppress_context__
