from __future__ import annotations

import os

import pytest

from qdfeedback.parallel import cores, run_all


def square(n: int) -> tuple[int, int]:
    if n < 0:
        raise ValueError(f"{n} is negative")
    return n * n, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done(workers: int) -> None:
    found = list(run_all(square, [1, 2, 3, 4], workers=workers))
    assert sorted(value for value, _ in found) == [1, 4, 9, 16]
    elsewhere = {pid for _, pid in found} != {os.getpid()}
    assert elsewhere == (workers > 1)
    assert list(run_all(square, [])) == []
    assert cores() >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_job_raises_is_raised(workers: int) -> None:
    with pytest.raises(ValueError, match="-1 is negative"):
        list(run_all(square, [1, -1, 2], workers=workers))
