"""The page about servers names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "servers.md"


def test_each_habit_on_the_page_has_the_test_that_it_names() -> None:
    missing, file = [], ""
    for name, test in re.findall(r"`(\w+\.py)?::(test_\w+)`", PAGE.read_text(encoding="utf-8")):
        file = name or file
        tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
        if test not in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}:
            missing.append(f"{file}::{test}")
    assert not missing
    assert PAGE.read_text(encoding="utf-8").count("::test_") > 40
