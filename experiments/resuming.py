"""What experiments share whose runs go on after a kill and may cost money: their settings, models, ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from experiments.command import for_each_seed
from qdfeedback import runs
from qdfeedback.models.recorded import Recorded
from qdfeedback.run_settings import read_settings, write_settings

Args = TypeVar("Args", bound=Any)  # a dataclass with run, seed, resume; for `jobs` also cap and ledger


OF_THIS_CALL = ("run", "resume", "overwrite", "workers")
OF_A_RUN = ("id", "study", "used", "not_kept")  # settings that are no arguments


def settings_of(args: Any, *, lists: Collection[str], paths: Collection[str]) -> dict[str, Any]:
    """Returns what a run folder keeps of arguments, as JSON; some are lists there, and paths are whole."""
    found = {name: value for name, value in asdict(args).items() if name not in OF_THIS_CALL}
    found |= {name: list(found[name]) for name in lists}
    return found | {name: None if found[name] is None else str(Path(found[name]).resolve()) for name in paths}


def arguments_of(run: Path, *, lists: Collection[str], paths: Collection[str]) -> dict[str, Any]:
    """Returns the arguments that `settings_of` kept."""
    known = {name: value for name, value in read_settings(run).items() if name not in OF_A_RUN}
    known |= {name: tuple(known.get(name, ())) for name in lists}
    return known | {name: Path(known[name]) for name in paths if known.get(name) is not None}


def open_run(args: Args, settings: Mapping[str, Any], names: Sequence[str], *, commit: bool = True) -> runs.Run:
    """Returns the run folder: new, to be resumed, or in place of one that is there.

    Args:
        args: of this call.
        settings: what a new one keeps.
        names: the d feature columns.
        commit: every batch is durable at once, as where candidates cost money.

    Raises:
        ValueError: It cannot be opened so.
    """
    if args.resume:
        return runs.resume(args.run, names, commit=commit)
    if args.overwrite:
        runs.clear(args.run)
    try:
        return runs.create(args.run, settings, names, commit=commit)
    except runs.NotEmptyError as error:
        raise ValueError(
            f"{error}: --resume goes on with it, --overwrite replaces it; or name another folder"
        ) from error


def find_ledger(args: Args) -> None:
    """Makes sure that the ledger of a run that goes on is still there: what was paid stands in it.

    Raises:
        ValueError: It is gone.
    """
    if args.ledger is not None and not args.ledger.exists():
        raise ValueError(f"the replies of {args.run} are not in {args.ledger}: name them with --ledger")


def same_version(args: Any, known: Collection[str]) -> None:
    """Refuses a run that was begun before an argument was there: what it would have been then, nobody knows.

    Raises:
        ValueError: One was not.
    """
    if new := [one.name for one in fields(args) if one.name not in (*known, *OF_THIS_CALL)]:
        raise ValueError(f"{args.run} was begun by an earlier version, without {new[0]}: end it with that version")


def go_on(args: Args, known: Mapping[str, Any], *, of_now: Collection[str], free: Collection[str] = ("seed",)) -> Args:
    """Returns the settings that a run was started with; of those given now, the ones in `of_now` count instead.

    Args:
        args: of this call.
        known: argument → value, of the run.
        of_now: arguments that may be others now.
        free: arguments that are not compared.

    Raises:
        ValueError: Others are given now, which cannot be changed; or it was begun by an earlier version.
    """
    same_version(args, known)
    usual = type(args)()
    given = {name: value for name in known if (value := getattr(args, name)) != getattr(usual, name)}
    fixed = [name for name in given if name not in (*of_now, *free) and given[name] != known[name]]
    if fixed:
        raise ValueError(f"--resume: {args.run} was begun with {fixed[0]} {known[fixed[0]]}, which cannot change")
    now = {name: value for name, value in given.items() if name in of_now}
    return replace(args, **{**known, **now}, resume=True)


def refuse_keys(*models: str | None) -> None:
    """Refuses servers whose address holds a user or a password: the run folder keeps addresses.

    Raises:
        ValueError: One does.
    """
    servers = [model.split("@", 1)[1] for model in models if model and "@http" in model]
    if any(urlsplit(url).username or urlsplit(url).password for url in servers):
        raise ValueError("--writer, --judge: the run folder keeps addresses; put the key into --key-variable")


def note_used(run: runs.Run, used: Mapping[str, Any], settings: Mapping[str, Any], *, of_now: Collection[str]) -> None:
    """Writes what a run uses, models by their exact names, into its settings, whatever names it.

    Args:
        run: new, or one that goes on.
        used: role → what.
        settings: of this call.
        of_now: those that may have changed; they count from here on.

    Raises:
        ValueError: The run was begun with something else.
    """
    used = json.loads(json.dumps(used))
    before = run.settings.get("used", used)
    if different := [name for name in used if used[name] != before.get(name)]:
        raise ValueError(
            f"{run.path} was begun with another {different[0]}: {before.get(different[0])}, now {used[different[0]]}; "
            "what it holds and what would come do not belong together"
        )
    run.settings |= {"used": used} | {name: settings[name] for name in of_now}
    write_settings(run.path, run.settings)


def note_not_kept(run: runs.Run, models: Iterable[Recorded]) -> None:
    """Writes into the settings of a run which parameters the models' servers do not take, with what they said."""
    if lacking := {model.name: list(model.not_kept) for model in models if model.not_kept}:
        run.settings["not_kept"] = lacking
        write_settings(run.path, run.settings)


def give_up(run: Path, *, resumed: bool) -> None:
    """Removes the folder of a new run that could not begin, or it would stand in the way of the next attempt."""
    if not resumed:
        runs.clear(run)


def jobs(args: Args, saved: Callable[[Args], Args]) -> list[Args]:
    """Returns the arguments of each of several seeds; with a cap they share a ledger.

    Raises:
        ValueError: They were begun with a ledger each, so that no cap can hold for all.
    """
    if args.cap is not None and args.ledger is None and not args.resume:
        args = replace(args, ledger=args.run / "replies.db")
    found = for_each_seed(args, saved)
    if args.cap is not None and any((saved(one) if one.resume else one).ledger is None for one in found):
        raise ValueError("--cap: these seeds keep their replies apart; resume them one by one, each with a cap")
    return found
