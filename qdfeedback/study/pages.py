"""Templates → pages. All that a template fills in is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from fastapi.responses import HTMLResponse

from qdfeedback.study.settings import Study

TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """The pages of one study; call it with a template's name and its values."""

    def __init__(self, study: Study) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["study"] = study

    def __call__(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """Returns a filled page."""
        return HTMLResponse(self._environment.get_template(template).render(**values), status)
