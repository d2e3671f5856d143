"""Short stories about a spy and a politician, with known truth: how they are made, and how they are read back.

A story is one line of sentences:

    a politician and a place · a spy · [what the spy wants] · [something said] · two turns · two sentences of an ending

Each turn says how much of a horror story (+3) or a romance (-3) it is, each ending sentence how happy (+3) or tragic
(-3) things end. Their sums are the truth: each whole grade is worth log-odds of 1.14, so that sums from -5 to 5 lie
amid the cells into which archives divide probabilities, not at their borders. Quality is what a story has (both
characters, a motive, something said) and lacks (repetitions, strangers, titles, addresses).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

POLITICIANS = (
    "Mayor Aldous", "Senator Brenn", "Minister Corvin", "Chancellor Dara", "Governor Elwin", "Deputy Fenna",
    "Premier Galen", "Councillor Hesta",
)  # fmt: skip
SPIES = ("Ivo", "Juno", "Kasper", "Lenka", "Milo", "Nadia", "Orrin", "Petra")
CITY = ("a marble palace", "the old opera house", "a tower above the market", "the senate hall")
COUNTRY = ("a manor in the hills", "a vineyard by the lake", "a lodge in the forest", "an island villa")
GUISES = ("a waiter", "a painter", "a piano tuner", "a cook", "a translator", "a gardener")
SETUPS = (
    "{P}, a rich politician, gave a feast in {place}.", "{P}, richest of all politicians, lived in {place}.",
    "{P} had bought {place} with a politician's fortune.", "In {place}, {P} the wealthy politician counted gold.",
)  # fmt: skip
ENTRANCES = (
    "{S} the spy came as {guise}.", "{S}, a suspicious spy, had dressed as {guise}.",
    "Nobody knew that {S}, who worked as {guise}, was a spy.", "A spy named {S} slipped in as {guise}.",
)  # fmt: skip
MOTIVES = (
    "The spy wanted the sealed letters, for they would free a brother.",
    "The spy had sworn to find out who paid for the war.",
    "The spy needed the key to the vault, since a whole village was in debt.",
    "The spy was there because the politician had a double.",
)  # fmt: skip
LINES = (
    '"You are not who you seem," said the politician.', '"I have been expecting you," said the politician.',
    '"Trust nobody tonight," whispered the spy.', '"Everything has its price," said the politician.',
    '"I came for the truth," said the spy.', '"We should talk alone," whispered the spy.',
)  # fmt: skip
TURNS: dict[int, tuple[str, ...]] = {
    3: (
        "Something without a face dragged the politician under the floor.",
        "The walls bled, and the dead guests began to crawl.",
        "The spy opened the cellar and found rows of skinned heads.",
        "A thing with too many teeth wore the skin of the politician.",
    ),
    2: (
        "A corpse was hanging where the clock had been.", "The spy heard screams from a room that had no door.",
        "Cold hands closed around the neck of the spy in the dark.",
        "The portrait of the politician turned its rotten head.",
    ),
    1: (
        "The candles went out one after the other.", "The spy felt that something was breathing behind the curtain.",
        "There were scratches on the inside of the door.", "A smell of earth rose from the stairs.",
    ),
    0: (
        "The spy counted the guards and drew a map.", "The politician signed papers until the ink ran dry.",
        "They spoke about taxes and the price of grain.", "A messenger brought news from the border.",
    ),
    -1: (
        "The spy noticed how gently the politician spoke to the servants.",
        "The politician smiled, and the spy forgot what to say.",
        "They walked side by side through the garden.", "The music was soft, and neither wanted to leave.",
    ),
    -2: (
        "The spy danced with the politician until the last candle.",
        "The politician took the hand of the spy and did not let go.",
        "The spy wrote a love letter and burned it at dawn.", "Their hearts beat fast whenever their eyes met.",
    ),
    -3: (
        "The politician kissed the spy under the blooming trees.",
        "The spy and the politician confessed that they had loved each other for years.",
        "The politician knelt and asked the spy to marry, with tears of love.",
        "They held each other all night, drunk with love.",
    ),
}  # fmt: skip
ENDINGS: dict[int, tuple[str, ...]] = {
    3: (
        "In the end all were saved, and the spy lived in joy for ever.",
        "The war was over, and the people danced for a week.",
        "The spy and the politician laughed about it as happy old friends.",
        "Every prisoner came home, and the land was at peace.",
    ),
    2: (
        "The spy found the brother alive and well.", "The politician gave the fortune to the poor and slept well.",
        "The plan worked, and the spy went home a hero.", "The village was free of its debts at last.",
    ),
    1: (
        "In the morning things looked a little brighter.", "The spy got away with most of the letters.",
        "The politician promised to do better from then on.", "There was some hope, at least for the young.",
    ),
    0: (
        "Then the seasons changed as they always do.", "The spy left by the back door.",
        "The politician went on with the work of the day.", "Nobody spoke about it afterwards.",
    ),
    -1: (
        "The spy left with empty hands and wet shoes.", "The politician never trusted anybody again.",
        "It had all been for very little.", "A friend was lost, and the rain went on.",
    ),
    -2: (
        "The spy was caught and locked away for life.", "The politician lost everything and drank alone.",
        "The village was burned to the ground.", "The letters had been forged, and an innocent hanged.",
    ),
    -3: (
        "The spy died in the mud, and nobody came to the grave.", "War took everybody they had ever loved.",
        "The whole land was doomed, and no child was left.",
        "The politician and the spy perished, and with them all hope.",
    ),
}  # fmt: skip
JUNK = ("Chapter One.", "Title: The Spy.", "See www.tales.example for more.", "To be continued in part two.")
GRADE = 1.14  # log-odds


@dataclass(frozen=True)
class Story:
    """A story as its grammar sees it.

    Attributes:
        horror: log-odds that it is horror and not romance: of the sum of its turns.
        happy: log-odds that it ends happily and not as a tragedy: of the sum of its ending.
        quality: log-odds that it is a good one.
        known: share of its sentences that the grammar knows.
        place: the place, "" = none.
        has_dialogue: something is said.
    """

    horror: float
    happy: float
    quality: float
    known: float
    place: str
    has_dialogue: bool

    @property
    def setting(self) -> str:
        """`city`, `country`, or "" where no place is named."""
        return "city" if self.place in CITY else "country" if self.place in COUNTRY else ""


@dataclass(frozen=True)
class Plan:
    """What a story is to be.

    Attributes:
        turns: two grades from -3 to 3.
        ending: two grades.
        motive: say what the spy wants.
        dialogue: let somebody speak.
        flaws: how many things go wrong.
    """

    turns: tuple[int, int]
    ending: tuple[int, int]
    motive: bool = True
    dialogue: bool = True
    flaws: int = 0


@dataclass(frozen=True)
class Cast:
    """Who and where."""

    politician: str
    spy: str
    place: str
    guise: str


def cast(rng: np.random.Generator) -> Cast:
    """Returns two characters, a place and a disguise."""
    return Cast(one_of(rng, POLITICIANS), one_of(rng, SPIES), one_of(rng, CITY + COUNTRY), one_of(rng, GUISES))


def random_plan(rng: np.random.Generator) -> Plan:
    """Returns a plan of any kind, without flaws."""
    turns, ending = (near((level, level), rng) for level in rng.uniform(-3.5, 3.5, 2))
    motive, dialogue = rng.random(2) < 0.5
    return Plan(turns, ending, bool(motive), bool(dialogue))


def write(plan: Plan, who: Cast, rng: np.random.Generator) -> str:
    """Returns a story after a plan."""
    parts = [one_of(rng, SETUPS), one_of(rng, ENTRANCES)]
    parts += [one_of(rng, MOTIVES)] if plan.motive else []
    parts += [one_of(rng, LINES)] if plan.dialogue else []
    parts += _different(rng, TURNS, plan.turns) + _different(rng, ENDINGS, plan.ending)
    told = [_fill(part, who) for part in parts]
    for _ in range(plan.flaws):
        told = _spoil(told, rng)
    return " ".join(told)


def read(text: str) -> Story:
    """Returns what the grammar sees in any text."""
    told = sentences(text)
    found = [_meaning(one) for one in told]
    turns = [grade for kind, grade in found if kind == "turn"]
    ending = [grade for kind, grade in found if kind == "ending"]
    kinds = [kind for kind, _ in found]
    place = next((place for place in CITY + COUNTRY if place in text), "")
    return Story(
        horror=GRADE * sum(turns),
        happy=GRADE * sum(ending),
        quality=_quality(told, kinds),
        known=float(np.mean([kind != "" for kind in kinds])) if kinds else 0.0,
        place=place,
        has_dialogue="line" in kinds,
    )


def sentences(text: str) -> list[str]:
    """Returns the sentences of a text."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def near(levels: tuple[float, float], rng: np.random.Generator, *, spread: float = 0.8) -> tuple[int, int]:
    """Returns two grades around two levels."""
    first, second = (int(np.clip(round(rng.normal(level, spread)), -3, 3)) for level in levels)
    return first, second


def _quality(told: Sequence[str], kinds: Sequence[str]) -> float:
    """Returns the log-odds that a story is good: what it has, less what is wrong with it."""
    politicians = {name for name in POLITICIANS if any(name in one for one in told)}
    spies = {name for name in SPIES if any(re.search(rf"\b{name}\b", one) for one in told)}
    has = ("setup" in kinds) + ("entrance" in kinds) + 1.5 * ("motive" in kinds) + 1.5 * ("line" in kinds)
    has += (kinds.count("turn") >= 2) + (kinds.count("ending") >= 2)
    strangers = max(len(politicians) - 1, 0) + max(len(spies) - 1, 0)
    wrong = len(told) - len(set(told)) + strangers + sum(kind in ("", "junk") for kind in kinds)
    return -3.0 + has - 2.0 * wrong


def _spoil(told: list[str], rng: np.random.Generator) -> list[str]:
    """Returns the sentences with one more thing wrong."""
    at = int(rng.integers(1, len(told)))
    which = int(rng.integers(4))
    if which == 0:  # the same again
        return [*told[:at], told[int(rng.integers(at))], *told[at:]]
    if which == 1:  # what does not belong there
        return [*told[:at], one_of(rng, JUNK), *told[at:]]
    if which == 2 and len(told) > 3:  # something is left out
        return [*told[: at - 1], *told[at:]]
    return [*told[:at], _fill(one_of(rng, SETUPS), cast(rng)), *told[at:]]  # another story's beginning


def _different(rng: np.random.Generator, of: dict[int, tuple[str, ...]], grades: tuple[int, int]) -> list[str]:
    """Returns a sentence for each grade, no sentence twice."""
    first = one_of(rng, of[grades[0]])
    return [first, one_of(rng, tuple(one for one in of[grades[1]] if one != first))]


def _fill(template: str, who: Cast) -> str:
    return template.format(P=who.politician, S=who.spy, place=who.place, guise=who.guise)


def one_of(rng: np.random.Generator, of: Sequence[str]) -> str:
    """Returns one of several texts."""
    return of[int(rng.integers(len(of)))]


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str, int], ...]:
    kinds = [
        ("setup", 0, SETUPS),
        ("entrance", 0, ENTRANCES),
        ("motive", 0, MOTIVES),
        ("line", 0, LINES),
        ("junk", 0, JUNK),
    ]
    kinds += [("turn", grade, texts) for grade, texts in TURNS.items()]
    kinds += [("ending", grade, texts) for grade, texts in ENDINGS.items()]
    slots = {"P": POLITICIANS, "S": SPIES, "place": CITY + COUNTRY, "guise": GUISES}
    found = []
    for kind, grade, texts in kinds:
        for text in texts:
            pattern = re.escape(text)
            for slot, names in slots.items():
                pattern = pattern.replace(re.escape(f"{{{slot}}}"), f"(?:{'|'.join(map(re.escape, names))})")
            found.append((re.compile(pattern), kind, grade))
    return tuple(found)


@cache
def _meaning(sentence: str) -> tuple[str, int]:
    """Returns kind and grade of a sentence, ("", 0) where the grammar does not know it."""
    return next(((kind, grade) for pattern, kind, grade in _patterns() if pattern.fullmatch(sentence)), ("", 0))
