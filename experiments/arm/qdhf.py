"""QDHF on the planar arm: diversity axes learned from similarity judgments (Ding 2024, sec. 4.1).

    python -m experiments.arm.qdhf --method qdhf-active --answers 250 --seed 0 --run runs/arm
    python -m experiments.arm.qdhf --method qdhf --seed 0 1 2 3 --run runs/qdhf     # four runs, in parallel
    python -m experiments.arm.qdhf --run runs/arm --resume                          # go on where it was killed
    python -m experiments.arm.qdhf --annotator study --answers 100 --wait-for 100 --run runs/people
    qdfeedback study serve runs/people                                              # beside it: people answer here

Methods: `gt` sees the true axes; `aurora-pca` and `aurora-ae` fit axes to the first population, `-inc` to the
elites four times; `qdhf-base` spends all answers on random arms, `qdhf` a quarter at each of four refits. These
seven follow the published procedure (qdfeedback/learning/published.py). `qdhf-active` asks where an ensemble
disagrees, fits a likelihood with a prior to all answers, and places the whole history anew. Figures of several
seeds: python -m experiments.arm.table.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from domains.arm import FEATURES, RANGES, Arm, ArmEncoder
from experiments.arm import parts, report
from experiments.arm.arguments import Args, check
from qdfeedback import commands
from qdfeedback.archives import grid
from qdfeedback.curves import Curves
from qdfeedback.loop import Loop
from qdfeedback.parallel import compute_on
from qdfeedback.progress import Bar
from qdfeedback.quality.columns import column
from qdfeedback.search import Search
from qdfeedback.types import Placement


def make(args: Args, *, quiet: bool = True) -> Loop:
    """Returns the run, new or to be gone on with."""
    settings = {"study": uuid.uuid4().hex, "learned": list(FEATURES)}
    run = commands.open_run(args, ArmEncoder.names, commit=args.commit, **settings)
    domain = Arm(args.objective_noise, args.frames)
    search = Search(domain, ArmEncoder(), parts.make_generator(args), args.seed[0], run.failures)
    store = run.open_store(where=args.database)
    quality = column(ArmEncoder.names, "straightness")
    everything = Placement(quality, parts.HAND, grid(10, (parts.CELLS,) * 2)(RANGES, 0))
    return Loop(
        run, search, parts.make_axes(args, parts.make_feedback(args, run, store, search)), quality,
        parts.make_archive(args), args.evaluations, args.batch_size,
        checkpoint_every=1 if args.commit else args.checkpoint_every,
        follow={"all": everything}, store=store, curves=Curves(every=50), bar=Bar("arm", quiet),
    )  # fmt: skip


def run_one(args: Args, *, quiet: bool = True) -> dict[str, Any]:
    """Runs one seed and returns its summary; one that is finished is not run again, one that was stopped goes on."""
    args, summary = commands.take_up(args, check)
    if summary is not None:
        return summary
    compute_on()
    loop = make(args, quiet=quiet)
    for _ in loop:
        pass
    return report.finish(args, loop)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every seed."""
    commands.search(Args, argv, __doc__, one=run_one, check=check, line=report.one_line, closing=report.closing_lines)


if __name__ == "__main__":
    commands.run_main(main)
