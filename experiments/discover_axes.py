"""Axes that a language model proposes: kept if they spread texts, do not repeat each other, and agree with people.

    python -m experiments.discover_axes                                          # the story model, its own stories
    python -m experiments.discover_axes --texts RUN --study FOLDER --source ours                # agreeing with people
    python -m experiments.qdaif_writing --attributes runs/axes/attributes.json --axes axis1 axis2

The model is asked, again and again, for questions with two answers by which such texts can be told apart. It then
answers them about the same texts. A question is kept
    if its answers spread: entropy over the archive's cells, 1 = evenly over all of them;
    if it does not repeat one kept before it: rank correlation, the questions that spread most come first;
    if it orders people's triplets better than chance, where there are any: 95 % interval (Wilson).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from scipy import stats
from tqdm import tqdm

from domains.stories import MODEL
from domains.writing import EDGES_2D, Writing
from experiments.command import run_main
from experiments.writing_setup import DOMAINS, from_nothing, is_ours
from qdfeedback import files, metrics
from qdfeedback.bounds import Bounds, Count, Natural, Seed, Share, read_arguments
from qdfeedback.diversity.bins import Bins
from qdfeedback.diversity.columns import Columns
from qdfeedback.encoders.attributes import Attribute, Attributes
from qdfeedback.feedback.answers import read_answers
from qdfeedback.feedback.conduct import excluded
from qdfeedback.feedback.queries import uniform_triplets
from qdfeedback.feedback.store import Store
from qdfeedback.history import History, names_of
from qdfeedback.models.frames import instruct
from qdfeedback.models.language import LanguageModel, Sampling
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import open_model
from qdfeedback.parallel import compute_on, threads
from qdfeedback.study.place import open_study
from qdfeedback.types import Floats, Ints

TOPICS = {"stories": "stories about a politician and a spy", "opinions": "opinions on eating vegetables"}
LINE = re.compile(r"[-*\d.) ]+(?P<question>[^?\n]{5,200}\?) \((?P<first>[^()\n]{1,40}) or (?P<second>[^()\n]{1,40})\)")


@dataclass(frozen=True)
class Args:
    run: Path = Path("runs/axes")
    """Folder for what was kept."""
    domain: Literal["stories", "opinions"] = "stories"
    """What is written."""
    topic: str | None = None
    """The request that the model gets; one about the domain if not given. It should ask for lines like
    "- Who tells it? (hero or villain)"."""
    texts: Path | None = None
    """A run whose texts are judged; the model writes some if not given."""
    count: Annotated[int, Bounds(3)] = 200
    """Texts that are judged."""
    asks: Count = 8
    """How often the model is asked for questions."""
    model: str = str(MODEL)
    """Folder, hub id, or model@http://host:port/v1."""
    least_spread: Share = 0.5
    """Entropy over cells that a question needs."""
    most_alike: Share = 0.7
    """Rank correlation with one kept before, at most."""
    study: Path | None = None
    """Folder of a study in which people answered triplets about the run's texts."""
    database: str | None = None
    """Its database, where that is not in the folder."""
    source: str = ""
    """What the run is called in the study, where it joins several."""
    simulated: Natural = 0
    """Triplets by a simulation that knows the domain's truth."""
    seed: Seed = 0
    """Draws texts and triplets."""


@dataclass(frozen=True)
class Found:
    """A proposed question and what is known about it.

    Attributes:
        attribute: the question.
        spread: entropy of its answers over cells, 0 to 1.
        repeats: the kept question that it repeats, "" = none.
        agreement: share of triplets that it orders as people do, and the lower end of its interval; NaN = none asked.
        kept: it passed.
    """

    attribute: Attribute
    spread: float
    repeats: str
    agreement: tuple[float, float]
    kept: bool


def propose(model: LanguageModel, topic: str, asks: int, seed: int) -> list[Attribute]:
    """Returns the questions in what the model says, each once."""
    seeds = np.random.default_rng(seed).integers(2**31, size=asks)
    said = model.complete([instruct(topic)] * asks, seeds, Sampling(max_tokens=400, temperature=0.9))
    found: dict[tuple[str, frozenset[str]], Attribute] = {}
    for text in said.texts:
        for line in LINE.finditer(text):
            answers = (line["first"].strip(), line["second"].strip())
            key = (line["question"].strip().casefold(), frozenset(one.casefold() for one in answers))
            if len(key[1]) == 2 and all(answers) and key not in found:
                found[key] = Attribute(f"axis{len(found) + 1}", line["question"].strip(), answers)
    return list(found.values())


def spread(values: Floats) -> float:
    """Returns the entropy of probabilities over the cells of an archive, 1 = evenly over all; NaN are left out."""
    cells = Bins((0,), (EDGES_2D,))
    place = cells.project(values[np.isfinite(values)][:, None])[:, 0].astype(int).clip(max=cells.dims[0] - 1)
    counts = np.bincount(place, minlength=cells.dims[0])
    return float(stats.entropy(counts) / np.log(cells.dims[0])) if len(place) else 0.0


def agreement(values: Floats, triplets: Ints) -> tuple[float, float]:
    """Returns the share of triplets that a column orders as people do, and the lower end of its 95 % interval."""
    if not len(triplets):
        return float("nan"), float("nan")
    anchor, near, far = values[triplets].astype(float).T
    apart = np.abs(anchor - far) - np.abs(anchor - near)
    apart = apart[np.isfinite(apart)]
    if not len(apart):
        return float("nan"), float("nan")
    right = (apart > 0).mean() + (apart == 0).mean() / 2  # what cannot tell is right by half
    test = stats.binomtest(round(right * len(apart)), len(apart))
    return float(right), float(test.proportion_ci(0.95, method="wilson").low)


def choose(attributes: Sequence[Attribute], features: Floats, triplets: Ints, args: Args) -> list[Found]:
    """Returns what became of each question, those that spread most first."""
    spreads = [spread(features[:, i]) for i in range(len(attributes))]
    kept: list[int] = []
    found = []
    for i in sorted(range(len(attributes)), key=lambda i: -spreads[i]):
        like = next((j for j in kept if _alike(features[:, i], features[:, j]) > args.most_alike), None)
        agrees = agreement(features[:, i], triplets)
        keep = spreads[i] >= args.least_spread and like is None and not agrees[1] <= 0.5
        kept += [i] if keep else []
        repeats = "" if like is None else attributes[like].question
        found.append(Found(attributes[i], spreads[i], repeats, agrees, keep))
    return found


def _alike(one: Floats, two: Floats) -> float:
    both = np.isfinite(one) & np.isfinite(two)
    if both.sum() < 3 or np.ptp(one[both]) == 0 or np.ptp(two[both]) == 0:
        return 0.0
    return float(abs(stats.spearmanr(one[both], two[both]).statistic))


def texts_of(
    args: Args, writing: Writing, model: LanguageModel, judged: Ints, rng: np.random.Generator
) -> tuple[Ints, list[str]]:
    """Returns ids and texts: of a run, with all that people judged, or new ones that the model writes without examples.

    Of examples that differ it would write what lies between them.
    """
    if args.texts is not None:
        history = History(args.texts / "history.arrows", names_of(args.texts / "history.arrows"))
        parts = [part["id"][part["error"] == None] for part in history.chunks("id", "error")]  # noqa: E711
        others = rng.permutation(np.setdiff1d(np.concatenate(parts), judged))
        ids = np.sort(np.concatenate([judged, others[: max(args.count - len(judged), 0)]]))
        return ids, [str(text) for text in history.take(ids, "solution")]
    texts: list[str] = []
    while len(texts) < args.count:
        seeds = rng.integers(2**31, size=min(args.count - len(texts), 50))
        whole, reasons = from_nothing(writing, model, seeds)
        if not whole:
            raise RuntimeError(f"{model.name} wrote nothing: {reasons[0]}")
        texts += whole
    return np.arange(args.count), texts


def judged_triplets(args: Args) -> Ints:
    """Returns (t, 3) ids of texts in people's triplets: anchor, near, far; people whom the study excludes are left out.

    Raises:
        ValueError: The study has none.
    """
    if args.study is None:
        return np.empty((0, 3), dtype=np.int64)
    place = open_study(args.study, args.database, write=False)
    left_out = excluded(read_answers(place.database, place.study), place.study)
    store = Store(place.database)
    items = store.triplets(place.study.study_id, source=args.source, people_without=left_out).items
    if not len(items):
        raise ValueError(f"{args.study} holds no triplets that people answered about {args.source or 'the run'}")
    return items


def simulated_triplets(args: Args, writing: Writing, texts: list[str], rng: np.random.Generator) -> Ints:
    """Returns (t, 3) rows of texts: anchor, near, far."""
    if writing.truth is None:
        raise ValueError(f"--simulated: nobody knows the truth about {args.domain}")
    true = writing.truth(texts)[:, 1:]
    known = np.flatnonzero(np.isfinite(true).all(axis=1))
    rows = known[uniform_triplets(len(known), args.simulated, rng)]
    near = metrics.orders_right(Columns(tuple(range(true.shape[1]))), true, rows)
    return np.where(near[:, None], rows, rows[:, [0, 2, 1]])


def main(argv: Sequence[str] | None = None) -> None:
    """Proposes, judges, chooses, and writes what was kept."""
    args = read_arguments(Args, argv, __doc__)
    if args.study is not None and args.texts is None:
        raise ValueError("--study needs --texts, the run that it is about")
    if args.study is not None and args.simulated:
        raise ValueError("--study or --simulated: people answer, or a simulation")
    if args.domain == "opinions" and is_ours(args.model):
        raise ValueError("--model: ours knows what stories can differ in, not opinions; name one of your own")
    compute_on(threads())
    writing, rng = DOMAINS[args.domain], np.random.default_rng(args.seed)
    ledger = Ledger(args.run / "replies.db")
    model = open_model(args.model, ledger)
    topic = args.topic or f"List questions with two answers each, by which {TOPICS[args.domain]} can be told apart."
    attributes = propose(model, topic, args.asks, args.seed)
    attributes = [one for one in attributes if one.question != writing.quality.question]  # good is not different
    if not attributes:
        raise RuntimeError(f"{model.name} proposed no question with two answers in {args.asks} attempts")
    judged = judged_triplets(args)
    ids, texts = texts_of(args, writing, model, np.unique(judged), rng)
    columns = [Attributes((one,), (model,)).encode(texts)[:, 0] for one in tqdm(attributes, unit="question")]
    triplets: Ints = np.searchsorted(ids, judged)
    if args.simulated:
        triplets = simulated_triplets(args, writing, texts, rng)
    found = choose(attributes, np.stack(columns, axis=1), triplets, args)
    kept = [{"name": one.attribute.name, "question": one.attribute.question, "answers": one.attribute.answers}
            for one in found if one.kept]  # fmt: skip
    files.write_json(args.run / "attributes.json", kept)
    who = "a simulation" if args.simulated else "people"
    lines = [f"| kept | spread | agrees with {who} | question | repeats |", "|---|---|---|---|---|"]
    for one in found:
        agrees = f"{one.agreement[0]:.2f} (from {one.agreement[1]:.2f})" if len(triplets) else "–"
        question = f"{one.attribute.question} ({' or '.join(one.attribute.answers)})"
        lines.append(f"| {'yes' if one.kept else 'no'} | {one.spread:.2f} | {agrees} | {question} | {one.repeats} |")
    (args.run / "axes.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"\n{len(kept)} of {len(found)} questions kept, on {len(texts)} texts: {args.run}/attributes.json")
    print(json.dumps({"requests": ledger.totals().requests}))


if __name__ == "__main__":
    run_main(main)
