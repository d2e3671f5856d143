"""Arguments become settings of a run and come back; what differs is refused, given or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from qdfeedback.arguments import (
    FeedbackArguments,
    ModelArguments,
    arguments_of,
    as_flag,
    differing,
    resumed,
    settings_of,
)
from qdfeedback.bounds import Count, read_arguments
from qdfeedback.commands import each_seed, hint, note_used, open_run, take_up
from qdfeedback.learning.feedback import ask_people
from qdfeedback.run_settings import MAY_DIFFER, read_settings
from qdfeedback.runs import create


@dataclass(frozen=True)
class Args(FeedbackArguments, ModelArguments):
    """Of a test."""

    evaluations: Count = 500
    """Candidates in all."""
    method: Literal["one", "two"] = "one"
    """Which."""
    axes: tuple[str, ...] = ()
    """Some."""
    quick: bool = True
    """Quickly."""


def given(run: Path, *words: str) -> Args:
    return read_arguments(Args, ["--run", str(run), *words])


def begun(run: Path, *words: str, **more: Any) -> Args:
    args = given(run, *words)
    open_run(args, ("a",), study="s", **more)
    return args


def test_arguments_come_back_as_they_were(tmp_path: Path) -> None:
    ledger = tmp_path / "replies.db"
    ledger.touch()
    args = begun(tmp_path / "r", "--axes", "a", "b", "--ledger", str(ledger), "--method", "two", "--no-quick")
    found = resumed(given(tmp_path / "r", "--resume"))
    for name in ("axes", "ledger", "method", "quick", "seed", "evaluations", "prices"):
        assert getattr(found, name) == getattr(args, name), name
    assert found.resume
    assert read_settings(tmp_path / "r")["axes"] == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--evaluations", "500"), "begun with --evaluations 40, which cannot change"),  # the default, and yet given
        (("--method", "one"), "begun with --method two"),
        (("--quick",), "begun with --no-quick"),
        (("--seed", "0"), "begun with --seed 3"),
        (("--batch-size", "7"), "begun with --batch-size 100"),
        (("--axes", "c"), "begun with --axes a"),
    ],
)
def test_what_is_given_and_differs_is_refused(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    begun(tmp_path / "r", "--evaluations", "40", "--method", "two", "--no-quick", "--seed", "3", "--axes", "a")
    with pytest.raises(ValueError, match=said):
        resumed(given(tmp_path / "r", "--resume", *words))
    same = ("--evaluations", "40", "--method=two", "--no-quick", "--seed", "3", "--axes", "a")
    assert resumed(given(tmp_path / "r", "--resume", *same)).evaluations == 40


def test_what_no_candidate_depends_on_may_differ_and_counts_from_then_on(tmp_path: Path) -> None:
    begun(tmp_path / "r", "--timeout", "5")
    found = resumed(given(tmp_path / "r", "--resume", "--timeout", "120", "--concurrency", "2"))
    assert (found.timeout, found.concurrency) == (120.0, 2), "the default, and yet given"
    run = open_run(found, ("a",))
    note_used(run, {"writer": "m"})
    assert read_settings(tmp_path / "r")["timeout"] == 120.0
    with pytest.raises(ValueError, match="was begun with another writer: m, now n"):
        note_used(run, {"writer": "n"})
    assert {"timeout", "concurrency", "cap", "prices", "ledger", "key_variable", "database"} <= set(MAY_DIFFER)


def test_another_database_counts_from_then_on(tmp_path: Path) -> None:
    begun(tmp_path / "r", "--database", "sqlite:///a.db")
    found = resumed(given(tmp_path / "r", "--resume", "--database", "sqlite:///b.db"))
    open_run(found, ("a",))
    assert read_settings(tmp_path / "r")["database"] == "sqlite:///b.db"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_people_are_told_where_to_answer(tmp_path: Path, capsys, elsewhere: bool) -> None:
    run = open_run(given(tmp_path / "r"), ("a",), study="s")
    store = run.open_store(where=tmp_path / "other.db" if elsewhere else None)
    ask_people(run, SimpleNamespace(seed=0), store, title="Toys", text="Which is more alike?")
    store.close()
    said = capsys.readouterr().out
    assert f"qdfeedback study serve {run.path}" in said
    assert (f"--database {tmp_path / 'other.db'}" in said) == elsewhere
    assert ("--database" in said) == elsewhere


def test_a_run_of_another_version_is_named(tmp_path: Path) -> None:
    settings = settings_of(Args())
    create(tmp_path / "old", {name: one for name, one in settings.items() if name != "rounds"}, ("a",))
    create(tmp_path / "new", settings | {"colour": "red"}, ("a",))
    with pytest.raises(ValueError, match="begun by an earlier version, without rounds"):
        arguments_of(Args, tmp_path / "old")
    with pytest.raises(ValueError, match="begun by another version, with colour"):
        arguments_of(Args, tmp_path / "new")


def test_no_password_and_nothing_of_the_call_is_kept(tmp_path: Path) -> None:
    settings = begun_settings = settings_of(given(tmp_path / "r", "--database", "postgresql://me:secret@host/db"))
    assert "secret" not in str(settings)
    assert not {"run", "resume", "overwrite", "workers", "given"} & set(begun_settings)
    begun(tmp_path / "r", "--database", "postgresql://me:secret@host/db")
    with pytest.raises(ValueError, match="give --database again"):
        resumed(given(tmp_path / "r", "--resume"))
    assert resumed(given(tmp_path / "r", "--resume", "--database", "sqlite:///x.db")).database == "sqlite:///x.db"


def test_a_ledger_that_is_gone_is_said(tmp_path: Path) -> None:
    begun(tmp_path / "r", "--ledger", str(tmp_path / "gone.db"))
    with pytest.raises(ValueError, match="name them with --ledger"):
        resumed(given(tmp_path / "r", "--resume"))


def test_models_need_prices_and_keep_no_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--cap needs --prices"):
        given(tmp_path, "--cap", "1").check_models()
    with pytest.raises(ValueError, match="put the key into --key-variable"):
        given(tmp_path).check_models(None, "m@http://me:secret@host/v1")
    given(tmp_path).check_models("m@http://host/v1", "folder")


def test_seeds_have_folders_share_a_ledger_and_go_on_with_one_s_settings(tmp_path: Path) -> None:
    jobs = each_seed(given(tmp_path / "r", "--seed", "0", "1", "--cap", "3"))
    assert [(job.run.name, job.seed) for job in jobs] == [("seed-0", (0,)), ("seed-1", (1,))]
    assert {job.ledger for job in jobs} == {tmp_path / "r/replies.db"}
    begun(tmp_path / "q/seed-1", "--seed", "1", "--method", "two")
    first, second = each_seed(given(tmp_path / "q", "--seed", "0", "1", "--resume"))
    assert (first.resume, first.method, first.seed) == (False, "two", (0,))
    assert (second.resume, second.seed) == (True, (1,))
    for words, said in ((("0", "0"), "must be numbers that differ"), (("4", "5"), "holds no run to resume")):
        with pytest.raises(ValueError, match=said):
            each_seed(given(tmp_path / "q", "--seed", *words, "--resume"))


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    begun(tmp_path / "r")
    (tmp_path / "r/summary.json").write_text('{"elites": 3}')
    refused: list[Args] = []
    args, summary = take_up(given(tmp_path / "r", "--resume"), refused.append)
    assert (summary, refused, args.resume) == ({"elites": 3}, [], True)
    with pytest.raises(ValueError, match="--resume goes on with it, --overwrite replaces it"):
        open_run(given(tmp_path / "r"), ("a",))
    open_run(given(tmp_path / "r", "--overwrite"), ("a",))
    assert not (tmp_path / "r/summary.json").exists()


def test_a_run_goes_on_or_is_replaced(tmp_path: Path) -> None:
    begun(tmp_path / "r")
    with pytest.raises(ValueError, match="give one of them"):
        take_up(given(tmp_path / "r", "--resume", "--overwrite"), lambda _: None)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("cap", None, "no --cap"),
        ("axes", (), "no --axes"),
        ("axes", ("a", "b"), "--axes a b"),
        ("quick", True, "--quick"),
    ],
)
def test_an_argument_is_named_as_it_would_be_given(name: str, value: Any, said: str) -> None:
    assert as_flag(name, value) == said


def test_settings_that_differ_are_found(tmp_path: Path) -> None:
    known = settings_of(given(tmp_path, "--method", "two", "--timeout", "3"))
    assert differing(known, given(tmp_path)) == ["method"]


def test_a_model_without_room_to_think_gets_a_hint() -> None:
    assert "--thoughts" in hint("cut off (thoughts: 0 tokens)")
    assert hint("connection refused") == ""
