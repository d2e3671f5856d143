"""Processes of the tests' own, of which each begins with what they need imported."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.context import ForkServerContext

NEED = ["tests.feedback.store_test", "tests.models.ledger_test"]
"""What their functions are in: one process imports it, and all others are copies of that one."""


def context() -> ForkServerContext:
    """Starts processes; tests that use it belong to the group "processes"."""
    found = get_context("forkserver")
    found.set_forkserver_preload(NEED)
    return found
