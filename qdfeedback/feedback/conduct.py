"""How each person answered, and whom a study's rules leave out: of its report, and of what a search learns from."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qdfeedback.feedback.agreement import chance
from qdfeedback.feedback.answers import SIDED, Answer, Asked, read_answers
from qdfeedback.feedback.database import Database
from qdfeedback.feedback.left_out import LeftOut, read_left_out, write_left_out
from qdfeedback.feedback.refit_names import known_as

BAND = 0.001  # a share of left answers that chance alone gives more rarely is flagged
SAME_SHARE = 0.95
SAME_ANSWERS = 20


class Rules(Asked, Protocol):
    """What of a study's settings decides whose answers count."""

    @property
    def catch_per_rater(self) -> int:
        """Trials with an obvious answer that each person gets."""
        ...

    @property
    def catch_pass(self) -> int:
        """How many of them must be right."""
        ...

    @property
    def fast_ms(self) -> float:
        """What a median response time must not be below."""
        ...


@dataclass(frozen=True)
class Conduct:
    """How one person answered; practice is left out.

    Attributes:
        rater: pseudonym.
        answers: how many, skipped ones included.
        skipped: of them.
        catch_seen: trials with an obvious answer.
        catch_right: of them.
        catch_wanted: so many of them must be right.
        median_ms: of the response times, NaN = none is known.
        fast: share of them below the study's `fast_ms`, NaN = none is known.
        left: answers "left" to main trials and repeats.
        sided: answers "left" or "right" to them.
        left_p: how likely such a share of left is by chance, NaN = no answers.
        same: how often the most frequent answer was given, as it was shown.
        comparable: of how many; labels are left out, for most items may well be of one kind.
        reasons: why the person is left out; none = is not.
    """

    rater: str
    answers: int
    skipped: int
    catch_seen: int
    catch_right: int
    catch_wanted: int
    median_ms: float
    fast: float
    left: int
    sided: int
    left_p: float
    same: int
    comparable: int
    reasons: tuple[str, ...]


def conduct(answers: Sequence[Answer], study: Rules) -> list[Conduct]:
    """Returns how each person answered, in the order of their pseudonyms."""
    by_rater = defaultdict(list)
    for answer in answers:
        if answer.by == "person" and answer.kind != "practice":
            by_rater[answer.rater].append(answer)
    return [_of(rater, by_rater[rater], study) for rater in sorted(by_rater)]


def excluded(answers: Sequence[Answer], study: Rules) -> LeftOut:
    """Returns who is left out by the study's rules, and why."""
    return {person.rater: person.reasons for person in conduct(answers, study) if person.reasons}


def left_out(database: Database, study: Rules, *, until: int, refit: str, noted: Path) -> LeftOut:
    """Returns whom a refit of a search leaves out, and why, and notes it; what was noted before stands.

    So a search that goes on repeats its refits, whatever has been answered or edited since.

    Args:
        database: where the answers are.
        study: its rules.
        until: the last judgment that the refit uses: people are judged by what they had answered by then.
        refit: its name, as "axes-000101".
        noted: the file of all refits.

    Raises:
        ValueError: It is no name of a refit, or the file is damaged.
    """
    before, refit = read_left_out(noted), known_as(refit)
    if refit not in before:
        before[refit] = excluded(read_answers(database, study, until=until), study)
        write_left_out(noted, before)
    return before[refit]


def rules(study: Rules) -> list[str]:
    """Returns the rules that hold, each as a sentence."""
    share = f"{min(study.catch_pass, study.catch_per_rater)} of {study.catch_per_rater}"
    obvious = (
        f"Fewer right answers to trials with an obvious answer than {share}, or that share of those seen; "
        f"a skipped one is not right."
    )
    return [
        *([obvious] if study.catch_per_rater and study.catch_pass else []),
        *([f"A median response time below {study.fast_ms:g} ms."] if study.fast_ms else []),
        f"A share of left answers that chance gives more rarely than {BAND:.1%} of the time.",
        f"One and the same side or rating (ties apart) in more than {SAME_SHARE:.0%} of at least "
        f"{SAME_ANSWERS} answers.",
    ]


def wanted(seen: int, study: Rules) -> int:
    """Returns how many of the catch trials seen must be right: the study's share of them, rounded up."""
    share = min(study.catch_pass / study.catch_per_rater, 1.0) if study.catch_per_rater else 0.0
    return math.ceil(share * seen - 1e-9)


def _of(rater: str, answers: Sequence[Answer], study: Rules) -> Conduct:
    caught = [answer.right for answer in answers if answer.kind == "catch" and answer.right is not None]
    times = np.array([answer.response_ms for answer in answers if answer.response_ms is not None], dtype=float)
    free = [answer for answer in answers if answer.kind != "catch"]
    sides = Counter(answer.shown for answer in free if answer.task in SIDED)
    sided = sides["left"] + sides["right"]
    same, comparable = _most_frequent(free)
    found: dict[str, Any] = {
        "catch_seen": len(caught),
        "catch_right": sum(caught),
        "catch_wanted": wanted(len(caught), study),
        "median_ms": float(np.median(times)) if len(times) else math.nan,
        "fast": float(np.mean(times < study.fast_ms)) if len(times) else math.nan,
        "left": sides["left"],
        "sided": sided,
        "left_p": chance(sides["left"], sided),
        "same": same,
        "comparable": comparable,
    }
    skipped = sum(answer.given is None for answer in answers)
    return Conduct(rater, len(answers), skipped, **found, reasons=_reasons(found, study))


def _most_frequent(answers: Sequence[Answer]) -> tuple[int, int]:
    """Returns how often the most frequent answer was given, of how many, for the question where that is most."""
    by_question = defaultdict(list)
    for answer in answers:
        if answer.given not in (None, "tie") and answer.task != "label":
            by_question[answer.question].append(answer.shown)
    found = [(Counter(shown).most_common(1)[0][1], len(shown)) for shown in by_question.values()]
    long = [pair for pair in found if pair[1] >= SAME_ANSWERS] or found
    return max(long, key=lambda pair: pair[0] / pair[1], default=(0, 0))


def _reasons(found: dict[str, Any], study: Rules) -> tuple[str, ...]:
    reasons = []
    if found["catch_right"] < found["catch_wanted"]:
        reasons.append(
            f"{found['catch_right']} of {found['catch_seen']} obvious trials right, {found['catch_wanted']} are wanted"
        )
    if found["median_ms"] < study.fast_ms:
        reasons.append(f"median response time {found['median_ms']:.0f} ms, below {study.fast_ms:g} ms")
    if found["left_p"] < BAND:
        reasons.append(f"{found['left']} of {found['sided']} answers left, outside the {1 - BAND:.1%} band of chance")
    if found["comparable"] >= SAME_ANSWERS and found["same"] > SAME_SHARE * found["comparable"]:
        reasons.append(f"the same answer in {found['same']} of {found['comparable']}")
    return tuple(reasons)
