"""A folder for each domain, one for benchmarks; `python -m experiments.arm.qdhf --help` says what each knob does."""

from __future__ import annotations

import sys
from types import TracebackType


def _say_stopped(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints a line in place of a traceback where a person stops an experiment that loads its modules still."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # this is the first thing that `python -m experiments.NAME` loads
    sys.excepthook = _say_stopped
