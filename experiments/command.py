"""What every experiment does when it is called from a shell: several seeds side by side, errors in a line."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from qdfeedback.models.language import ONLY_THOUGHTS
from qdfeedback.parallel import run_all

Args = TypeVar("Args", bound=Any)  # a dataclass with run: Path, seed: tuple[int, ...] and resume: bool


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


def for_each_seed(args: Args, saved: Callable[[Args], Args]) -> list[Args]:
    """Returns the arguments of each of several seeds, in folders seed-0, seed-1, … of the run's.

    Args:
        args: of the call.
        saved: gives arguments with the settings that a folder was started with. Resumed, seeds that were not begun take
            those of one that was.

    Raises:
        ValueError: A seed stands there twice, or none was begun that could be resumed.
    """
    if len(set(args.seed)) < len(args.seed):
        raise ValueError(f"--seed must be numbers that differ, got {' '.join(map(str, args.seed))}")
    folders: dict[int, Path] = {seed: args.run / f"seed-{seed}" for seed in args.seed}
    begun = [folder for folder in folders.values() if args.resume and (folder / "settings.json").exists()]
    if args.resume and not begun:
        raise ValueError(f"{args.run} holds no run to resume")
    new = replace(saved(replace(args, run=begun[0])), resume=False) if begun else args
    return [replace(args if folder in begun else new, run=folder, seed=(seed,)) for seed, folder in folders.items()]


def run_seeds(
    work: Callable[[Args], dict[str, Any]], jobs: Sequence[Args], line: Callable[[dict[str, Any]], str]
) -> None:
    """Runs seeds in worker processes and prints a line about the summary of each as it ends."""
    for summary in tqdm(run_all(work, jobs, workers=jobs[0].workers), total=len(jobs), unit="run"):
        tqdm.write(line(summary))
