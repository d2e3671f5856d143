"""What numbers may be: it stands beside each argument of a command or a function, and is checked before anything runs.

    @dataclass(frozen=True)
    class Args:
        batch_size: Count = 100                                  # a name for Annotated[int, Bounds(1)]
        seed: tuple[Seed, ...] = (0,)
        floor: Annotated[float, Bounds(0, below=1)] = 0.1
        cap: Amount | None = None

    args = read_arguments(Args, argv, __doc__)                   # or check(args), for arguments that came otherwise

Every number of every command has some.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

Args = TypeVar("Args")
Number = tuple[str, type, "Bounds | None", Any]


@dataclass(frozen=True)
class Bounds:
    """What a number may be; none is infinite or NaN.

    Attributes:
        least: the lowest.
        most: the highest.
        above: it must be higher than this.
        below: it must be lower than this.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"between {self.least} and {self.most}"
        words = (("at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.below))
        return " and ".join(f"{word} {bound}" for word, bound in words if bound is not None) or "finite"

    def hold(self, value: Any) -> bool:
        """True for a number that may be."""
        return (
            (isinstance(value, Integral) or math.isfinite(value))
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


Count = Annotated[int, Bounds(1)]
Natural = Annotated[int, Bounds(0)]
Seed = Annotated[int, Bounds(0, 2**32 - 1)]  # what every library takes
Amount = Annotated[float, Bounds(0)]
Positive = Annotated[float, Bounds(above=0)]
Share = Annotated[float, Bounds(0, 1)]
Finite = Annotated[float, Bounds()]


def read_arguments(cls: type[Args], argv: Sequence[str] | None = None, description: str | None = None) -> Args:
    """Returns the arguments of a command line, checked.

    Args:
        cls: a dataclass of arguments.
        argv: the words after the command's name; the process's own if not given.
        description: for the help text.

    Raises:
        ValueError: A number is out of its bounds.
        SystemExit: The words are no such arguments, or ask for help.
    """
    import tyro

    words = sys.argv[1:] if argv is None else argv
    found: Args = tyro.cli(cls, description=description, args=words)
    if any(one.name == "given" for one in fields(cls)):  # type: ignore[arg-type]
        found = replace(found, given=_given(cls, words))  # type: ignore[type-var]
    check(found)
    return found


def _given(cls: type, words: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the arguments that stand among the words of a command, in their order."""
    known = {one.name for one in fields(cls)}
    flags = [word[2:].split("=", 1)[0].replace("-", "_") for word in words if word.startswith("--")]
    names = [flag if flag in known else flag.removeprefix("no_") for flag in flags]
    return tuple(dict.fromkeys(name for name in names if name in known))


def check(args: Any, prefix: str = "--") -> None:
    """Refuses a dataclass with numbers that are out of the bounds that stand beside them.

    Args:
        args: the dataclass.
        prefix: before each name in a message; with "" they are written as in Python.

    Raises:
        ValueError: One is; the message names it, its bounds and what came.
    """
    for name, kind, bounds, value in numbers(args, prefix):
        if value is not None:
            check_number(value, name, bounds or Bounds(), kind=kind)


def check_number(value: Any, name: str, bounds: Bounds, *, kind: type = float) -> None:
    """Refuses what is not a number in its bounds.

    Args:
        value: anything.
        name: of the argument, for the message.
        bounds: what it may be.
        kind: int for whole numbers.

    Raises:
        ValueError: It is none; the message names the argument, what is expected and what came.
    """
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        raise ValueError(f"{name} must be {'a whole number' if kind is int else 'a number'}, got {value!r}")
    if not bounds.hold(value):
        finite = "" if isinstance(value, Integral) or math.isfinite(value) or str(bounds) == "finite" else "finite and "
        raise ValueError(f"{name} must be {finite}{bounds}, got {value}")


def numbers(args: Any, prefix: str = "--") -> Iterator[Number]:
    """Gives the name, int or float, the bounds and the value of each number among arguments.

    Args:
        args: a dataclass of arguments, or its class, where all values are None.
        prefix: as in `check`.
    """
    hints = _hints(args if isinstance(args, type) else type(args))
    for one in fields(args):
        name = one.name.replace("_", "-") if prefix else one.name
        value = None if isinstance(args, type) else getattr(args, one.name)
        yield from _numbers(hints[one.name], value, prefix + name, None)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _numbers(hint: Any, value: Any, name: str, bounds: Bounds | None) -> Iterator[Number]:
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (int, float):
        yield name, hint, bounds, value
    elif origin is Annotated:
        yield from _numbers(inner[0], value, name, next((m for m in inner[1:] if isinstance(m, Bounds)), bounds))
    elif origin in (Union, UnionType) or (
        origin is tuple and (value is None or not value)
    ):  # of a number and None: nothing else stands beside a number
        for one in inner:
            yield from _numbers(one, value, name, bounds)
    elif origin is tuple:
        for one, of_it in zip(inner[:1] * len(value) if inner[-1] is Ellipsis else inner, value, strict=False):
            yield from _numbers(one, of_it, name, bounds)
    elif is_dataclass(hint):
        yield from numbers(value if is_dataclass(value) else hint, f"{name}.")
