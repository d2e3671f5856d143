"""The one place that loads templates: whatever a template fills in is escaped, and a missing value is an error."""

from __future__ import annotations

from pathlib import Path

import jinja2

from qdfeedback.study.words import counted

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> jinja2.Environment:
    """Returns a fresh environment over the study's templates."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["counted"] = counted
    return found
