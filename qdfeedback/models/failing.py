"""When most of what is asked comes to nothing for one reason of a server: a run that went on would only look fine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from qdfeedback.models.language import EMPTY, FILTERED, NO_REPLY, ONLY_THOUGHTS, REFUSED
from qdfeedback.models.received import CUT_OFF_ANSWER

LEAST = 10  # of which so many say nothing yet
_SERVERS = (NO_REPLY, FILTERED, REFUSED, ONLY_THOUGHTS, CUT_OFF_ANSWER, f"{EMPTY}:")


class MostFailError(RuntimeError):
    """More than half of what was asked failed for one reason of the server's."""


@dataclass
class Failing:
    """What came to nothing in this process, and why.

    Attributes:
        what: is counted.
        asked: how many there were.
        counts: kind of reason → how many.
    """

    what: str
    asked: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, reasons: Iterable[str | None], who: str) -> None:
        """Counts more of them, each with its reason; None = it came.

        Reasons of our own, a near-duplicate say, and those of the text itself, one that is cut off say, are no
        failures of a server.

        Args:
            reasons: one for each.
            who: did not do it.

        Raises:
            MostFailError: More than half of all failed for one reason.
        """
        given = list(reasons)
        self.asked += len(given)
        servers = [reason for reason in given if reason is not None and is_servers(reason)]
        self.counts.update(map(_kind, servers))
        if not servers or self.asked < LEAST:
            return
        kind, count = self.counts.most_common(1)[0]
        if 2 * count > self.asked:
            last = next((one for one in reversed(servers) if _kind(one) == kind), kind)
            raise MostFailError(f"{count} of {self.asked} {self.what} came to nothing for one reason, {who}: {last}")


def is_servers(reason: str) -> bool:
    """Returns whether it was the server, or what its model was allowed, and not the text or we."""
    return reason.startswith(_SERVERS)


def _kind(reason: str) -> str:
    """Returns a reason without the numbers and quoted words in which requests differ."""
    return re.sub(r"\d+", "#", re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", reason))
