"""What every command does that runs a search: open its folder, several seeds side by side, errors in a line."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from qdfeedback import runs
from qdfeedback.arguments import RunArguments, resumed, settings_of
from qdfeedback.bounds import read_arguments
from qdfeedback.models.language import ONLY_THOUGHTS
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.recorded import Recorded
from qdfeedback.parallel import run_all
from qdfeedback.run_settings import MAY_DIFFER, write_settings

Args = TypeVar("Args", bound=RunArguments)
Summary = dict[str, Any]


def run_main(main: Callable[[], None]) -> None:
    """Calls main; what a person can mend (a wrong folder, a full disk) is one line, not a traceback."""
    try:
        main()
    except (ValueError, RuntimeError, OSError, ImportError, sqlite3.Error) as error:
        sys.exit("\n".join([f"error: {error}{hint(str(error))}", *getattr(error, "__notes__", ())]))
    except KeyboardInterrupt:
        sys.exit("stopped")


def hint(reason: str) -> str:
    """Returns which flag may help where a model had no room to think; "" where it had, or does not."""
    wants_room = "(thoughts: " in reason or ONLY_THOUGHTS in reason
    return "; --thoughts gives a model tokens to think in before it answers" if wants_room else ""


def search(
    cls: type[Args],
    argv: Sequence[str] | None,
    description: str | None,
    *,
    one: Callable[..., Summary],
    check: Callable[[Args], None],
    line: Callable[[Summary], str],
    closing: Callable[[Path, Summary], str],
) -> None:
    """Reads arguments, runs every seed, and says what came of it.

    Args:
        cls: of the arguments.
        argv: the words after the command's name.
        description: for the help text.
        one: a function at the top level of a module: (args, quiet=) → summary of one seed.
        check: refuses arguments that cannot work.
        line: a summary in a line.
        closing: folder, summary → what a person wants to know at the end.
    """
    args = read_arguments(cls, argv, description)
    if len(args.seed) == 1:
        tqdm.write(closing(args.run, one(args, quiet=False)))
        return
    if not args.resume:
        check(args)
    run_jobs(one, each_seed(args), line, workers=args.workers)


def run_jobs(
    one: Callable[..., Summary],
    jobs: Sequence[Args],
    line: Callable[[Summary], str],
    *,
    workers: int | None = None,
) -> None:
    """Runs runs side by side in worker processes, and prints a line about each as it ends."""
    for summary in tqdm(run_all(one, jobs, workers=workers), total=len(jobs), unit="run"):
        tqdm.write(line(summary))


def each_seed(args: Args) -> list[Args]:
    """Returns the arguments of each of several seeds, in folders seed-0, seed-1, … of the run's.

    Resumed, seeds that were not begun take the settings of one that was. With a cap they share a ledger.

    Raises:
        ValueError: A seed stands there twice, none was begun that could be resumed, or they were begun with a ledger
            each, so that no cap can hold for all.
    """
    if len(set(args.seed)) < len(args.seed):
        raise ValueError(f"--seed must be numbers that differ, got {' '.join(map(str, args.seed))}")
    cap = getattr(args, "cap", None)
    if cap is not None and args.ledger is None and not args.resume:  # type: ignore[attr-defined]
        args = replace(args, ledger=args.run / "replies.db")  # type: ignore[call-arg]
    folders: dict[int, Path] = {seed: args.run / f"seed-{seed}" for seed in args.seed}
    begun = [folder for folder in folders.values() if args.resume and (folder / "settings.json").exists()]
    if args.resume and not begun:
        raise ValueError(f"{args.run} holds no run to resume")
    new = replace(resumed(replace(args, run=begun[0])), resume=False) if begun else args
    jobs = [replace(args if folder in begun else new, run=folder, seed=(seed,)) for seed, folder in folders.items()]
    if cap is not None and any((resumed(job) if job.resume else job).ledger is None for job in jobs):  # type: ignore[attr-defined]
        raise ValueError("--cap: these seeds keep their replies apart; resume them one by one, each with a cap")
    return jobs


def take_up(args: Args, check: Callable[[Args], None]) -> tuple[Args, Summary | None]:
    """Returns the arguments of a run, those it was begun with where it goes on, and its summary where it is finished.

    Raises:
        ValueError: They cannot work, or are others than the run's.
    """
    if args.resume and runs.is_finished(args.run):
        return resumed(args), runs.read_summary(args.run)
    return arguments_for(args, check), None


def arguments_for(args: Args, check: Callable[[Args], None]) -> Args:
    """Returns the arguments of a run, those it was begun with where it goes on, whether it is finished or not.

    Raises:
        ValueError: They cannot work, or are others than the run's.
    """
    if args.resume and args.overwrite:
        raise ValueError("--resume goes on with a run, --overwrite replaces it: give one of them")
    args = resumed(args) if args.resume else args
    check(args)
    return args


def open_run(args: RunArguments, names: Sequence[str], *, commit: bool = True, **more: Any) -> runs.Run:
    """Returns the run folder: new, to be resumed, or in place of one that is there.

    Args:
        args: of this call.
        names: the d feature columns.
        commit: every batch is durable at once, as where candidates cost money.
        more: settings that are no arguments.

    Raises:
        ValueError: It cannot be opened so.
    """
    if args.resume:
        run = runs.resume(args.run, names, commit=commit)
        run.settings |= {name: value for name, value in settings_of(args).items() if name in MAY_DIFFER}
        write_settings(run.path, run.settings)
        return run
    if args.overwrite:
        runs.clear(args.run)
    try:
        return runs.create(args.run, settings_of(args) | more, names, commit=commit)
    except runs.NotEmptyError as error:
        raise ValueError(
            f"{error}: --resume goes on with it, --overwrite replaces it; or name another folder"
        ) from error


@contextmanager
def no_folder_left(args: RunArguments, ledger: Ledger | None = None, run: str = "") -> Iterator[None]:
    """Removes the folder of a new run that cannot begin, or it would stand in the way of the next attempt.

    Args:
        args: of the run.
        ledger: where something may have been paid for it: then the folder stays.
        run: its name in the ledger.
    """
    try:
        yield
    except Exception:
        used = None if ledger is None else ledger.totals(run)
        if not args.resume and (used is None or not (used.requests or used.possibly_paid)):
            runs.clear(args.run)
        raise


def note_used(run: runs.Run, used: Mapping[str, Any]) -> None:
    """Writes what a run uses, models by their exact names, into its settings, whatever names it.

    Args:
        run: new, or one that goes on.
        used: role → what.

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
    run.settings |= {"used": used}
    write_settings(run.path, run.settings)


def note_not_kept(run: runs.Run, models: Iterable[Recorded]) -> None:
    """Writes into the settings of a run which parameters the models' servers do not take, with what they said."""
    if lacking := {model.name: list(model.not_kept) for model in models if model.not_kept}:
        run.settings["not_kept"] = lacking
        write_settings(run.path, run.settings)
