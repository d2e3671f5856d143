"""The one place that loads templates: whatever a template fills in is escaped, and a missing value is an error."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2

from qdfeedback.study.words import counted

TEMPLATES = Path(__file__).parent / "templates"


@functools.cache
def environment() -> jinja2.Environment:
    """Returns the environment over the study's templates; each of them is compiled once."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["counted"] = counted
    return found
