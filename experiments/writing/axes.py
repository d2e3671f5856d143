"""Axes that a language model proposes: kept if they spread texts, do not repeat each other, and agree with people.

    python -m experiments.writing.axes                                          # the story model, its own stories
    python -m experiments.writing.axes --texts RUN --study FOLDER --source ours                # agreeing with people
    python -m experiments.writing.qdaif --attributes runs/axes/attributes.json --axes axis1 axis2

The model is asked, again and again, for questions with two answers by which such texts can be told apart. It then
answers them about the same texts; which are kept, qdfeedback/learning/proposed.py says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tqdm import tqdm

from domains.stories import MODEL
from experiments.writing.arguments import DOMAINS, is_ours
from qdfeedback import files, metrics
from qdfeedback.bounds import Bounds, Count, Natural, Seed, Share, read_arguments
from qdfeedback.commands import run_main
from qdfeedback.diversity.columns import Columns
from qdfeedback.encoders.attributes import Attributes
from qdfeedback.feedback.queries import uniform_triplets
from qdfeedback.history import History, names_of
from qdfeedback.learning.proposed import choose, propose
from qdfeedback.models.language import LanguageModel
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import open_model
from qdfeedback.parallel import compute_on, threads
from qdfeedback.study.judged import triplets_of
from qdfeedback.tables import markdown
from qdfeedback.types import Ints
from qdfeedback.writing import Writing, from_nothing

TOPICS = {"stories": "stories about a politician and a spy", "opinions": "opinions on eating vegetables"}


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
    judged: Ints = np.empty((0, 3), dtype=np.int64)
    if args.study is not None:
        judged = triplets_of(args.study, args.database, source=args.source)
    ids, texts = texts_of(args, writing, model, np.unique(judged), rng)
    columns = [Attributes((one,), (model,)).encode(texts)[:, 0] for one in tqdm(attributes, unit="question")]
    triplets: Ints = np.searchsorted(ids, judged)
    if args.simulated:
        triplets = simulated_triplets(args, writing, texts, rng)
    found = choose(
        attributes, np.stack(columns, axis=1), triplets, least_spread=args.least_spread, most_alike=args.most_alike
    )
    kept = [{"name": one.attribute.name, "question": one.attribute.question, "answers": one.attribute.answers}
            for one in found if one.kept]  # fmt: skip
    files.write_json(args.run / "attributes.json", kept)
    who = "a simulation" if args.simulated else "people"
    rows = [
        {
            "kept": "yes" if one.kept else "no", "spread": f"{one.spread:.2f}",
            f"agrees with {who}": f"{one.agreement[0]:.2f} (from {one.agreement[1]:.2f})" if len(triplets) else "–",
            "question": f"{one.attribute.question} ({' or '.join(one.attribute.answers)})", "repeats": one.repeats,
        }
        for one in found
    ]  # fmt: skip
    text = markdown(rows)
    (args.run / "axes.md").write_text(text)
    print(text)
    print(f"{len(kept)} of {len(found)} questions kept, on {len(texts)} texts: {args.run}/attributes.json")
    print(json.dumps({"requests": ledger.totals().requests}))


if __name__ == "__main__":
    run_main(main)
