"""A study's report as one page: tables and small bars, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qdfeedback.study.analysis.statistics import library

ROWS = 50  # of a long table
MISSING = "–"


def page(report: dict[str, Any]) -> str:
    """Returns a report as HTML. All its text, which people and models wrote, is escaped.

    Args:
        report: what `report.report` returned.

    Raises:
        ImportError: Jinja2 is missing.
    """
    library("jinja2")  # where it is missing, one line names the extra
    from qdfeedback.study.web.templating import environment

    templates = environment()
    templates.filters |= {"figure": figure, "percent": percent, "place": place, "p_value": p_value, "p_text": p_text}
    return str(templates.get_template("report.html").render(report=report, rows=ROWS))


def figure(value: Any, digits: int = 2) -> str:
    """Returns a number, or an interval as "value (low to high)"; a dash where it is not defined."""
    return _text(value, lambda number: f"{number:.{digits}f}")


def percent(value: Any, digits: int = 0) -> str:
    """Returns a share, or the interval of one, in per cent; a dash where it is not defined."""
    return _text(value, lambda number: f"{number:.{digits}%}".replace("%", "\N{NO-BREAK SPACE}%"))


def p_value(value: float | None) -> str:
    """Returns a probability with four digits; a dash where it is not defined."""
    return "below 0.0001" if value is not None and value < 1e-4 else figure(value, 4)


def p_text(value: float | None) -> str:
    """Returns a probability for a sentence, "" where it is not defined."""
    return "" if value is None else f"p {p_value(value)}" if value < 1e-4 else f"p = {p_value(value)}"


def place(value: float, low: float, high: float) -> float:
    """Returns where a value lies on a bar from low to high, 0 to 100; what lies outside is put to the edge."""
    if high <= low:
        return 50.0
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 2)


def _text(value: Any, write: Callable[[float], str]) -> str:
    if isinstance(value, dict):
        if value["value"] is None:
            return MISSING
        if value["low"] is None:
            return write(value["value"])
        return f"{write(value['value'])} ({write(value['low'])} to {write(value['high'])})"
    return MISSING if value is None else write(value)
