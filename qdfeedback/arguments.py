"""Arguments that commands share, each said once; and how they become the settings of a run, and come back from them.

    @dataclass(frozen=True)
    class Args(SearchArguments):
        method: Literal["gt", "qdhf"] = "qdhf"

    args = read_arguments(Args, argv, __doc__)

A line of documentation follows each argument, as below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import sqlalchemy as sa
import tyro

from qdfeedback.bounds import Amount, Count, Natural, Positive, Seed
from qdfeedback.models.calls import read_prices
from qdfeedback.models.ledger import Ledger
from qdfeedback.models.opening import Opening
from qdfeedback.models.recorded import Patience
from qdfeedback.run_settings import MAY_DIFFER, read_settings

Args = TypeVar("Args", bound="RunArguments")

OF_THIS_CALL = ("run", "resume", "overwrite", "workers", "given")
OF_A_RUN = ("id", "study", "used", "not_kept", "learned")
"""Settings of a run that are no arguments."""


@dataclass(frozen=True)
class RunArguments:
    """Of every run."""

    run: Path = Path("runs/new")
    """Folder of the run; with several seeds, of their folders seed-0, seed-1, …"""
    seed: tuple[Seed, ...] = (0,)
    """Seeds; several run side by side in processes of their own."""
    resume: bool = False
    """Go on from where a run stopped, with its settings. What no candidate depends on may be given anew: what models
    cost and how they are reached, the device, the database."""
    overwrite: bool = False
    """Replace a run that is there already."""
    workers: Count | None = None
    """Processes for several seeds; as many as there are cores if not given."""
    given: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()
    """Names of the arguments that were given."""


@dataclass(frozen=True)
class SearchArguments(RunArguments):
    """Of every search."""

    evaluations: Count = 10_000
    """Candidates in all."""
    batch_size: Count = 100
    """Candidates in an iteration."""
    checkpoint_every: Count = 1
    """Iterations between checkpoints."""


@dataclass(frozen=True)
class FeedbackArguments(SearchArguments):
    """Of searches that ask somebody."""

    answers: Natural = 1000
    """Answers in all, for the methods that ask."""
    rounds: Count = 20
    """In how many rounds they are asked for, evenly over the first half of the run."""
    database: str | None = None
    """URL of the judgment store; a SQLite file in the run folder if not given."""


@dataclass(frozen=True)
class ModelArguments:
    """Of runs that ask models on servers."""

    prices: Path | None = None
    """TOML file: for each model a table with prompt and completion, the price of a million tokens."""
    cap: Amount | None = None
    """What models may cost, with all that shares the ledger, in the currency of --prices; the run stops before it, and
    --resume with a higher one goes on."""
    ledger: Path | None = None
    """Where replies are kept; replies.db in the run folder if not given, and for all seeds where there is a cap."""
    key_variable: str | None = None
    """Environment variable with the servers' API key; OPENAI_API_KEY for https addresses if not given."""
    thoughts: Natural = 0
    """Tokens in which models may think before each text, and those on servers before each answer too."""
    timeout: Positive = 120.0
    """Seconds in which a request ends."""
    concurrency: Count = 16
    """Requests to a server at the same time."""

    def check_models(self, *models: str | None) -> None:
        """Refuses a cap without prices, and addresses that hold a user or a password: the run folder keeps addresses.

        Raises:
            ValueError: Says which.
        """
        servers = [model.split("@", 1)[1] for model in models if model and "@http" in model]
        if any(urlsplit(url).username or urlsplit(url).password for url in servers):
            raise ValueError("--writer, --judge: the run folder keeps addresses; put the key into --key-variable")
        if self.cap is not None and self.prices is None:
            raise ValueError("--cap needs --prices, a table of what models cost")
        if self.prices is not None:
            read_prices(self.prices)

    def opening(self, **more: Any) -> Opening:
        """Returns how models are opened.

        Args:
            more: what else an `Opening` says.
        """
        return Opening(
            key_variable=self.key_variable, thoughts=self.thoughts, timeout=self.timeout,
            patience=Patience(self.concurrency), **more,
        )  # fmt: skip

    def open_ledger(self, folder: Path, run: str) -> Ledger:
        """Returns the file of replies.

        Args:
            folder: of the run.
            run: its name in the ledger.
        """
        prices = read_prices(self.prices) if self.prices else None
        return Ledger(self.ledger or folder / "replies.db", prices=prices, cap=self.cap, run=run)


def settings_of(args: RunArguments) -> dict[str, Any]:
    """Returns what the run folder keeps of arguments, as JSON: paths whole, no password, nothing about this call."""
    found = {one.name: _as_json(getattr(args, one.name)) for one in fields(args) if one.name not in OF_THIS_CALL}
    if found.get("database") and "://" in found["database"]:
        found["database"] = sa.make_url(found["database"]).render_as_string(hide_password=True)
    return found


def arguments_of(cls: type[Args], run: Path) -> dict[str, Any]:
    """Returns the arguments that `settings_of` kept in a run folder.

    Raises:
        ValueError: The folder holds no run, or one that was begun before an argument was there: what it would have been
            then, nobody knows.
    """
    known = {name: value for name, value in read_settings(run).items() if name not in OF_A_RUN}
    wanted = [one.name for one in fields(cls) if one.name not in OF_THIS_CALL]
    if new := [name for name in wanted if name not in known]:
        raise ValueError(f"{run} was begun by an earlier version, without {new[0]}: end it with that version")
    if old := [name for name in known if name not in wanted]:
        raise ValueError(f"{run} was begun by another version, with {old[0]}: end it with that version")
    hints = get_type_hints(cls, include_extras=True)
    return {name: _from_json(hints[name], value) for name, value in known.items()}


def resumed(args: Args) -> Args:
    """Returns the arguments that a run was begun with; of those given now, what may differ counts.

    Raises:
        ValueError: Something else is given now that differs; or the replies, or the database's password, are missing.
    """
    known, usual = arguments_of(type(args), args.run), type(args)()
    names = [one for one in known if one in args.given or getattr(args, one) != getattr(usual, one)]
    now = {name: getattr(args, name) for name in names}
    free = MAY_DIFFER if len(args.seed) == 1 else (*MAY_DIFFER, "seed")
    fixed = [name for name in now if name not in free and _as_json(now[name]) != _as_json(known[name])]
    if fixed:
        raise ValueError(
            f"--resume: {args.run} was begun with {as_flag(fixed[0], known[fixed[0]])}, which cannot change"
        )
    found = replace(args, **known | {name: value for name, value in now.items() if name in MAY_DIFFER}, resume=True)
    if ":***@" in str(getattr(found, "database", None)):
        raise ValueError("give --database again: the run folder does not keep its password")
    ledger = getattr(found, "ledger", None)
    if ledger is not None and not ledger.exists():
        raise ValueError(f"the replies of {args.run} are not in {ledger}: name them with --ledger")
    return found


def as_flag(name: str, value: Any) -> str:
    """Returns an argument as it would be given on a command line."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    if value is None or value == ():
        return f"no --{flag}"
    return f"--{flag} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"


def _as_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.resolve())
    return list(value) if isinstance(value, tuple) else value


def _from_json(hint: Any, value: Any) -> Any:
    if get_origin(hint) is Annotated:
        return _from_json(get_args(hint)[0], value)
    if isinstance(value, str) and Path in (hint, *get_args(hint)):
        return Path(value)
    return tuple(value) if isinstance(value, list) else value


def differing(settings: Mapping[str, Any], args: RunArguments) -> list[str]:
    """Returns the names of settings that a run was begun with and that arguments would not give it."""
    wanted = settings_of(args)
    return [name for name in wanted if name not in MAY_DIFFER and wanted[name] != settings.get(name)]
