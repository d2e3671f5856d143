"""Templates → pages. All that a template fills in is escaped."""

from __future__ import annotations

from typing import Any

from fastapi.responses import HTMLResponse

from qdfeedback.feedback.study import Study
from qdfeedback.study.web.templating import environment


class Pages:
    """The pages of one study; call it with a template's name and its values."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def __call__(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """Returns a filled page."""
        return HTMLResponse(environment().get_template(template).render(study=self.study, **values), status)
