"""How far a judge agrees with people about texts, and a curve that makes it agree better.

    qdfeedback study new runs/labels ours=runs/writing --labels 60 --options horror romance --ratings 60
    qdfeedback study serve runs/labels
    python -m experiments.writing.calibrate --run runs/writing --study runs/labels --source ours --axis genre
    python -m experiments.writing.calibrate --run runs/writing --axis genre --simulated 100      # by the truth

For an axis with two answers it reads the answers to a question with these labels, for `quality` the ratings. A curve is
fitted (a temperature, with a shift, or an isotonic curve) and tested on texts that it did not see; then every text of
the run is placed anew, through the curve: no judge is asked again. Writes calibration.json into the run folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.writing.arguments import Args as WritingArgs
from experiments.writing.arguments import truth_columns, writing_of
from experiments.writing.report import qd
from qdfeedback import files
from qdfeedback.arguments import arguments_of
from qdfeedback.bounds import Natural, Seed, read_arguments
from qdfeedback.commands import run_main
from qdfeedback.diversity.columns import Calibrated
from qdfeedback.feedback.answers import read_answers
from qdfeedback.feedback.calibration import Curve, Marks, error, fit_line, fitter, marks, marks_by_truth, unseen
from qdfeedback.feedback.conduct import excluded
from qdfeedback.feedback.store import Store
from qdfeedback.history import History
from qdfeedback.quality.columns import column
from qdfeedback.search import refresh
from qdfeedback.study.place import open_study
from qdfeedback.types import Placement
from qdfeedback.writing import archive_of, bins_of

LEAST = 10  # texts, of which a fifth is left out at a time


@dataclass(frozen=True)
class Args:
    run: Path
    """Folder of a finished search over texts."""
    axis: str
    """One of its axes, or quality."""
    study: Path | None = None
    """Folder of the study in which people answered."""
    database: str | None = None
    """Its database, where that is not in the folder."""
    source: str = ""
    """What the run is called in the study."""
    question: str | None = None
    """Which of its questions; the only one with labels, or with ratings, if not given."""
    simulated: Natural = 0
    """In place of a study: so many texts, each judged by three people who know the truth as well as it can be known."""
    curve: Literal["temperature", "shifted", "isotonic"] = "shifted"
    """What is fitted: a temperature, one with a shift, or any rising curve. Ratings always get a rising curve."""
    seed: Seed = 0
    """Draws folds and simulated answers."""


def said_by_people(args: Args, label: str | None) -> Marks:
    """Returns what people said about the run's texts.

    Raises:
        ValueError: The study has no such question.
    """
    assert args.study is not None
    place = open_study(args.study, args.database, write=False)
    study = place.study
    task = "rating" if label is None else "label"
    fitting = [
        one for one in study.questions
        if one.task == task and (label is None or label in one.options) and args.question in (None, one.name)
    ]  # fmt: skip
    if len(fitting) != 1:
        asked = f"a question with {'ratings' if label is None else f'the label {label!r}'}"
        raise ValueError(f"{args.study} has {len(fitting)} times {asked}: name one with --question")
    left_out = excluded(read_answers(place.database, study), study)
    store = Store(place.database)
    return marks(store, study.study_id, fitting[0].name, label=label, source=args.source, without=left_out)


def main(argv: Sequence[str] | None = None) -> None:
    """Fits, tests, and places the run anew."""
    args = read_arguments(Args, argv, __doc__)
    if (args.study is None) == (not args.simulated):
        raise ValueError("name --study, or --simulated with a number of texts")
    settings = replace(WritingArgs(run=args.run, resume=True), **arguments_of(WritingArgs, args.run))
    writing = writing_of(settings)
    names = ("quality", *(axis.name for axis in writing.axes))
    if args.axis not in names:
        raise ValueError(f"--axis must be one of {', '.join(names)}, got {args.axis!r}")
    index, rated = names.index(args.axis), args.axis == "quality"
    if not rated and writing.axes[index - 1].kind == "category":
        raise ValueError(f"--axis {args.axis}: a category has no curve")
    history = History(args.run / "history.arrows", names)
    if args.simulated:
        if writing.truth is None:
            raise ValueError("--simulated: nobody knows the truth about these texts")
        texts = [str(text) for part in history.chunks("solution") for text in part["solution"]]
        true = writing.truth(texts)[:, truth_columns(settings)[index]]
        said = marks_by_truth(true, args.simulated, rng=np.random.default_rng(args.seed))
    else:
        said = said_by_people(args, None if rated else writing.axes[index - 1].answers[0])
    values = history.take(said.ids, "features")[:, index].astype(float)
    good = np.isfinite(values)
    values, said = values[good], Marks(said.ids[good], said.mean[good], said.count[good])
    if len(said) < LEAST:
        raise ValueError(f"{len(said)} texts have answers and a value: a curve that is tested needs {LEAST}")
    by_ratings = rated and not args.simulated
    fit = fitter("isotonic" if by_ratings else args.curve)
    curve: Any = fit(values, said.mean, said.count)
    plain = unseen(values, said, fit_line, args.seed) if by_ratings else values
    before = error(plain, said, ratings=by_ratings)
    after = error(unseen(values, said, fit, args.seed), said, ratings=by_ratings)
    (qd_before, coverage_before), (qd_after, coverage_after) = map(qd, placed(settings, history, index, curve))
    found = {
        "axis": args.axis, "texts": len(said), "answers": int(said.count.sum()), "curve": type(curve).__name__,
        "parameters": asdict(curve), "error_before": before, "error_after": after,
        "qd_score_before": qd_before, "qd_score_after": qd_after,
        "coverage_before": coverage_before, "coverage_after": coverage_after,
    }  # fmt: skip
    if by_ratings:  # the judge's scale is not people's
        found |= {"qd_score_before": None, "qd_score_after": None}
    files.write_json(args.run / "calibration.json", found)
    what = "mean absolute error, in ratings" if by_ratings else "cross-entropy, in nats for each answer"
    print(
        f"{len(said)} texts, {found['answers']} answers about {args.axis}; {what}: {before:.3f} "
        f"{'with a straight line' if by_ratings else 'as the judge has it'}, {after:.3f} with a curve; neither line "
        f"nor curve saw the text.\n{curve}"
    )
    if not by_ratings:
        print(
            f"Through it the run's map has a QD score of {qd_after:.1f} ({qd_before:.1f} before) and fills "
            f"{coverage_after:.0f} % of its cells ({coverage_before:.0f} %)."
        )


def placed(settings: WritingArgs, history: History, index: int, curve: Curve) -> tuple[Placement, Placement]:
    """Returns the run's map as it is, and through the curve."""
    writing = writing_of(settings)
    bins, build = bins_of(writing), archive_of(writing)
    quality = column(("quality",), "quality")
    plain = Placement(quality, bins, build(bins.ranges, 0))
    through = (
        Placement(replace(quality, curve=curve), bins, build(bins.ranges, 0))
        if index == 0
        else Placement(quality, Calibrated(bins, ((index, curve),)), build(bins.ranges, 0))
    )
    for one in (plain, through):
        refresh(history, one)
    return plain, through


if __name__ == "__main__":
    run_main(main)
