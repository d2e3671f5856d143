"""What went wrong in a user's own code: the first traceback of each kind is printed, and all are kept in a file.

A candidate that fails is a row with a reason, and the search goes on; a mistake in `render` would fail every row with
the same few words. So where it happened is said once.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from pathlib import Path
from types import TracebackType

from qdfeedback.files import append_lines

LOG = "errors.log"
_OURS = Path(__file__).resolve().parent
_WHOLE = 3  # tracebacks of one kind; of the others a line
_MOST_BYTES = 2**24

_logger = logging.getLogger("qdfeedback")


class Failures:
    """Counts, prints and keeps tracebacks.

    Args:
        path: the file to which all are appended; None keeps none.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._seen: Counter[tuple[str, str]] = Counter()

    def note(self, error: BaseException, doing: str) -> None:
        """Takes in one failure.

        Args:
            error: as it was caught.
            doing: what failed, and for whom: "render, seed 17".
        """
        place = place_of(error)
        kind = (type(error).__name__, place)
        self._seen[kind] += 1
        whole = "".join(traceback.format_exception(error))
        if self._seen[kind] == 1:
            rest = "" if self._path is None else f"; what follows is in {self._path}"
            _logger.error("%s failed at %s, the first of its kind%s\n%s", doing, place, rest, whole)
        self._keep(f"{doing}:\n{whole}\n" if self._seen[kind] <= _WHOLE else f"{doing}: {kind[0]}: {error} ({place})\n")

    def watch(self, doing: str) -> Watch:
        """Notes what is raised inside, and says in it where that was; what this package itself refuses is no mistake.

        Args:
            doing: what is tried: "encode".
        """
        return Watch(self, doing)

    def annotate(self, error: Exception, doing: str) -> None:
        """Notes an error and says in it where it arose."""
        self.note(error, doing)
        rest = "" if self._path is None else f"; the whole traceback is in {self._path}"
        error.add_note(f"(in {doing}, at {place_of(error)}{rest})")

    def _keep(self, text: str) -> None:
        if self._path is None or (self._path.exists() and self._path.stat().st_size > _MOST_BYTES):
            return
        append_lines(self._path, text)


class Watch:
    """What `Failures.watch` returns: entered at every step, so a class, which takes a quarter of a generator's time."""

    __slots__ = ("_doing", "_failures")

    def __init__(self, failures: Failures, doing: str) -> None:
        self._failures, self._doing = failures, doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not _is_ours(error):
            self._failures.annotate(error, self._doing)


def place_of(error: BaseException) -> str:
    """Returns the file and line in which an error arose, of the user's code where there is some on the way to it."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_library(frame.filename)]
    if not frames:
        return "an unknown place"
    at = (theirs or list(frames))[-1]
    return f"{at.filename}, line {at.lineno}, in {at.name}"


def _is_ours(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _OURS in Path(frames[-1].filename).resolve().parents


def _is_library(name: str) -> bool:
    path = Path(name)
    return name.startswith("<") or "site-packages" in path.parts or _OURS in path.resolve().parents or _is_python(path)


def _is_python(path: Path) -> bool:
    return Path(logging.__file__).resolve().parents[1] in path.resolve().parents
