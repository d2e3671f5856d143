"""Short opinions on eating vegetables, with known truth: how they are made, and how they are read back.

An opinion is one line: an opener, two to four statements, and perhaps a reason. Each statement says how much somebody
likes vegetables (+3) or not (-3); the sum is the truth: the probability that the opinion is positive is its logistic
function. It is on its topic as far as its statements are, and explained where it gives a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from domains.stories.grammar import one_of, sentences

OPENERS = (
    "I am often asked what I think of vegetables.", "Let me say how I feel about plant-based food.",
    "People talk a lot about eating vegetables.", "Vegetables come up at every dinner.",
)  # fmt: skip
STATEMENTS: dict[int, tuple[str, ...]] = {
    3: (
        "Nothing on earth tastes better than fresh vegetables.", "I would live on beans and carrots for ever.",
        "I love every single vegetable with all my heart.", "A plate of greens is pure joy to me.",
    ),
    2: (
        "I eat vegetables at every meal and enjoy it.", "Roasted peppers are a real treat.",
        "I tell all my friends to eat more greens.", "A good lentil stew makes my day.",
    ),
    1: (
        "Most vegetables are quite pleasant.", "I do not mind a salad now and then.",
        "A few herbs make greens rather nice.", "I could eat a little more of them.",
    ),
    0: (
        "Some people eat greens and some eat meat.", "Vegetables are sold in most shops.",
        "Everybody chooses what to put on the plate.", "Carrots are orange and peas are green.",
    ),
    -1: (
        "I often leave the salad for somebody else.", "Greens are a bit dull without sauce.",
        "I would rather have a sandwich.", "Boiled carrots are not my thing.",
    ),
    -2: (
        "Most vegetables taste bad to me.", "I hide the spinach under my fork.",
        "Broccoli spoils a good dinner.", "I much prefer steak and ice cream.",
    ),
    -3: (
        "I hate vegetables more than anything.", "The very smell of cabbage makes me sick.",
        "I would rather starve than eat another bean.", "Vegetables should be thrown away, all of them.",
    ),
}  # fmt: skip
REASONS = (
    "That is because of how my parents cooked.", "It has to do with my health.",
    "The reason is simple: taste comes first.", "I say so because I have tried them all.",
)  # fmt: skip
STRAY = (
    "My car needs new tires.", "The match ended without a goal.", "It rained for most of the week.",
    "My cousin collects old stamps.",
)  # fmt: skip


@dataclass(frozen=True)
class Opinion:
    """An opinion as its grammar sees it.

    Attributes:
        positive: log-odds that it is positive: the sum of its statements.
        on_topic: log-odds that it is about eating vegetables, and says why.
        known: share of its sentences that the grammar knows.
    """

    positive: float
    on_topic: float
    known: float


def write(
    grades: Sequence[int], rng: np.random.Generator, *, opener: bool = True, reason: bool = True, stray: int = 0
) -> str:
    """Returns an opinion with a statement for each grade from -3 to 3."""
    told: list[str] = []
    for grade in grades:
        told.append(one_of(rng, tuple(text for text in STATEMENTS[int(grade)] if text not in told)))
    told = [one_of(rng, OPENERS)] * opener + told + [one_of(rng, REASONS)] * reason
    for _ in range(stray):
        told.insert(int(rng.integers(1, len(told) + 1)), one_of(rng, STRAY))
    return " ".join(told)


def read(text: str) -> Opinion:
    """Returns what the grammar sees in any text."""
    told = sentences(text)
    found = [_meanings().get(one, ("", 0)) for one in told]
    kinds = [kind for kind, _ in found]
    wrong = sum(kind in ("", "stray") for kind in kinds) + len(told) - len(set(told))
    has = ("opener" in kinds) + 2 * ("reason" in kinds) + min(kinds.count("statement"), 3)
    return Opinion(
        positive=float(sum(grade for kind, grade in found if kind == "statement")),
        on_topic=-2.0 + has - 2.0 * wrong,
        known=float(np.mean([kind != "" for kind in kinds])) if kinds else 0.0,
    )


@cache
def _meanings() -> dict[str, tuple[str, int]]:
    found = {
        text: (kind, 0)
        for kind, texts in (("opener", OPENERS), ("reason", REASONS), ("stray", STRAY))
        for text in texts
    }
    return found | {text: ("statement", grade) for grade, texts in STATEMENTS.items() for text in texts}
