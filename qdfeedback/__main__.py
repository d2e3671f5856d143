"""`python -m qdfeedback` is the `qdfeedback` command."""

from __future__ import annotations

from qdfeedback.cli import main

main()
