"""The human study of QDHF's paper: what people think of its pictures, side by side with those of best-of-n.

    python -m experiments.images.study runs/human       # searches, then makes two studies; go on by calling it again
    qdfeedback study serve runs/human/singular          # 4 × 4 pictures: which set is preferred, which more diverse
    qdfeedback study serve runs/human/compositional     # 3 × 3: which is truer to the text
    qdfeedback study report runs/human/singular

Every prompt is searched by both methods with as many pictures each. A map shows elites evenly spaced over it, best-of-n
its best ones; methods are compared within a prompt, people see the prompt and not the methods. `--search.…` are the
settings of `experiments.images.qdhf`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from domains.images.prompts import PROMPTS
from experiments.images import qdhf
from experiments.images.arguments import Args as ImagesArgs
from experiments.images.arguments import Method, check, is_ours
from experiments.images.report import one_line, seen_by
from experiments.images.table import check_models
from qdfeedback.arguments import differing
from qdfeedback.bounds import Count, read_arguments
from qdfeedback.cli import New
from qdfeedback.commands import run_jobs, run_main
from qdfeedback.feedback.study import read_study
from qdfeedback.run_settings import read_settings
from qdfeedback.text_files import read_lines

Kind = Literal["singular", "compositional"]
About = Literal["prefer", "diverse", "accurate"]
SHOWN: dict[Kind, tuple[int, tuple[About, ...]]] = {
    "singular": (4, ("prefer", "diverse")),
    "compositional": (3, ("accurate",)),
}


@dataclass(frozen=True)
class Args:
    out: Annotated[Path, tyro.conf.Positional]
    """Folder of the runs and the studies."""
    singular: Path | None = None
    """Text file with a prompt for one kind of thing on each line; none = of our small world."""
    compositional: Path | None = None
    """Text file with a prompt for two things on each line; none = of our small world."""
    methods: tuple[Method, Method] = ("qdhf-active", "best-of-n")
    """What is compared."""
    raters: Count = 50
    """Answers that each pair of sets is to get."""
    search: ImagesArgs = field(default_factory=lambda: ImagesArgs(evaluations=400, answers=200))
    """Of each search; its prompt, method and folder are set here."""


def prompts_of(args: Args, kind: Kind) -> tuple[str, ...]:
    """Returns the prompts of one kind.

    Raises:
        ValueError: There is none, or another model than ours is given no file.
    """
    path = {"singular": args.singular, "compositional": args.compositional}[kind]
    if path is None:
        return PROMPTS[kind] if is_ours(args.search.model) else ()
    found = tuple(dict.fromkeys(read_lines(path)))
    if not found:
        raise ValueError(f"{path} holds no prompt")
    return found


def jobs_of(args: Args, kind: Kind) -> list[ImagesArgs]:
    """Returns a search for each method and prompt; one that was begun goes on, one that is finished is not repeated.

    Raises:
        ValueError: One was begun with other settings: sets of different searches are not to be compared.
    """
    jobs = []
    for method in args.methods:
        for number, prompt in enumerate(prompts_of(args, kind)):
            words = "-".join(re.findall(r"\w+", prompt))[:40]
            run = args.out / "runs" / kind / method / f"{number:03d}-{words}"
            begun = (run / "settings.json").exists()
            job = replace(args.search, prompt=prompt, method=method, run=run)
            if begun:
                known = read_settings(run)
                other = differing(known, job)
                if (known["ledger"] is None) != (job.ledger is None):
                    raise ValueError(f"{run} was begun with another --search.cap: give the same, all count together")
                if other:
                    raise ValueError(f"{run} was begun with {other[0]} {known.get(other[0])}: name another folder")
            check(job)
            jobs.append(replace(job, resume=begun))
    return jobs


def make(out: Path, kind: Kind, jobs: Sequence[ImagesArgs], raters: int) -> None:
    """Makes the study of some runs, or finds that it is there.

    Raises:
        ValueError: There is one of other runs.
    """
    runs = tuple(f"{job.method}={job.run}" for job in jobs)
    check_models([seen_by(read_settings(job.run)) for job in jobs])
    if (out / "study.json").exists():
        if set(read_study(out).sources.values()) != {str(job.run) for job in jobs}:
            raise ValueError(f"{out} was made of other runs: name another folder for other prompts or methods")
        return
    grid, about = SHOWN[kind]
    New(out, runs, sets=1, grid=grid, about=about, raters_per_trial=raters, title="Sets of pictures").run()


def main(argv: Sequence[str] | None = None) -> None:
    """Searches what was not searched yet, and makes the studies that are not there yet."""
    args = read_arguments(Args, argv, __doc__)
    if args.methods[0] == args.methods[1] or len(args.search.seed) != 1 or args.search.annotator == "study":
        raise ValueError(
            "--methods: two that differ; --search.seed: one; people answer a run's questions apart from this"
        )
    if args.search.cap is not None and args.search.ledger is None:
        args = replace(args, search=replace(args.search, ledger=args.out / "replies.db"))  # one cap for all searches
    jobs = {kind: found for kind in SHOWN if (found := jobs_of(args, kind))}
    if not jobs:
        raise ValueError("--singular, --compositional: name a file with prompts for this model")
    least = max(SHOWN[kind][0] for kind in jobs) ** 2
    if min(args.search.set_size, args.search.cells**2) < least:
        raise ValueError(f"--search.set-size and the cells of a map must be at least {least}: so many are shown")
    run_jobs(qdhf.run_one, [job for found in jobs.values() for job in found], one_line, workers=args.search.workers)
    for kind, found in jobs.items():
        make(args.out / kind, kind, found, args.raters)


if __name__ == "__main__":
    run_main(main)
