"""Who takes part: agreement, pseudonyms, cookies, and how far each person is."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.store import utc_now
from qdfeedback.feedback.tables import empty, identities, raters
from qdfeedback.study.secrets import token_hash
from qdfeedback.study.settings import Study

ENDED = ("done", "withdrawn")
CLOCKS = 300.0  # seconds by which the clocks of two servers may differ
RENEWED = 60.0  # seconds: a lease is not written anew before it is so much shorter

Stage = Literal["warning", "practice", "trials", "done", "withdrawn"]


@dataclass(frozen=True)
class Rater:
    """A person who takes part.

    Attributes:
        rater_id: pseudonym.
        stage: how far they are.
        platform: where they come from.
        filtered: they do not want to see what is marked as sensitive.
        active_until: seconds since 1970 till when their trials are held for them.
    """

    rater_id: str
    stage: Stage
    platform: str
    filtered: bool = False
    active_until: float = 0.0


@dataclass(frozen=True)
class Platform:
    """How a person came: with what a recruiting platform puts into the address."""

    name: str  # prolific, mturk, link; jspsych, potato: answers from there
    person: str = ""
    session: str = ""
    submit_to: str = ""


class StudyFullError(Exception):
    """The study has as many people as it wants."""


class OtherSessionError(Exception):
    """A person comes back with another session than the one they began with: it may be somebody who knows their id."""


class CookieTakenError(Exception):
    """The cookie belongs to somebody else."""


class Register:
    """The people of one study.

    Args:
        database: where it is kept.
        study: its settings.
        key: secret; makes pseudonyms and proves who sent a form.
        clock: seconds since 1970; for tests.
    """

    def __init__(self, database: Database, study: Study, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.study = study
        self.now = clock
        self._key = key

    def pseudonym(self, platform: Platform, token: str) -> str:
        """Returns a person's id in the study: the same for one platform id; without one, the same for one cookie."""
        if platform.person:
            return self._mac("rater", platform.name, platform.person)[:16]
        return self._mac("visit", token)[:16]

    def form_token(self, token: str) -> str:
        """Returns what a form must carry to be taken for that of the person with this cookie."""
        return self._mac("form", token)

    def seal(self, trial_id: str) -> str:
        """Returns what stands for a trial in a form: its id might say that it is one with an obvious answer."""
        return self._mac("trial", trial_id)[:16]

    def join(self, platform: Platform, token: str) -> Rater:
        """Takes in a person who has agreed, or finds one who comes back; the cookie is theirs from now on.

        Raises:
            StudyFullError: No more people are wanted.
            CookieTakenError: The cookie is another person's.
            OtherSessionError: They began with another session of their platform.
        """
        rater_id = self.pseudonym(platform, token)
        this = self._is(rater_id)
        with self.database.writing(lock=self.study.study_id) as connection:
            owner = sa.select(raters.c.rater_id).where(*self._has(token))
            if connection.scalar(owner) not in (None, rater_id):
                raise CookieTakenError("the cookie is another person's")
            if connection.scalar(sa.select(raters.c.rater_id).where(*this)) is not None:
                if platform.person and not self._same_session(connection, rater_id, platform):
                    raise OtherSessionError
                connection.execute(sa.update(raters).where(*this).values(token_hash=token_hash(token)))
            else:
                if self.study.max_raters is not None and self._taking_part(connection) >= self.study.max_raters:
                    raise StudyFullError
                self._add(connection, rater_id, platform, token)
        rater = self.rater(token)
        assert rater is not None, "it was written just now"
        return rater

    def _same_session(self, connection: sa.Connection, rater_id: str, platform: Platform) -> bool:
        stored = sa.select(identities.c.session_id).where(
            identities.c.study_id == self.study.study_id, identities.c.rater_id == rater_id
        )
        return connection.scalar(stored) == platform.session

    def _add(self, connection: sa.Connection, rater_id: str, platform: Platform, token: str) -> None:
        now = utc_now()
        connection.execute(
            sa.insert(raters).values(
                empty(raters)
                | {
                    "study_id": self.study.study_id,
                    "rater_id": rater_id,
                    "token_hash": token_hash(token),
                    "platform": platform.name,
                    "joined_utc": now,
                    "consent_utc": now,
                    "consent_sha256": self.study.consent_sha256,
                    "stage": "warning" if self.study.sensitive else "practice",
                    "filtered": False,
                    "active_until": self.lease(),
                }
            )
        )
        if platform.person:
            connection.execute(self.database.insert_new(identities).values(identity(self.study, rater_id, platform)))

    def returning(self, platform: Platform, token: str) -> Rater | None:
        """Returns the person who agreed before, to whom the cookie now belongs; None for one who has not agreed.

        Raises:
            CookieTakenError: The cookie is another person's.
            OtherSessionError: They began with another session of their platform.
        """
        known = sa.select(raters.c.rater_id).where(*self._is(self.pseudonym(platform, token)))
        return None if self.database.value(known) is None else self.join(platform, token)

    def rater(self, token: str | None) -> Rater | None:
        """Returns the person with this cookie."""
        if not token:
            return None
        for row in self.database.rows(_BY_TOKEN, study=self.study.study_id, token=token_hash(token)):
            return Rater(row["rater_id"], row["stage"], row["platform"], row["filtered"], row["active_until"])
        return None

    def identity(self, rater: Rater) -> Platform:
        """Returns how the person came; only the last page needs it."""
        found = self.database.rows(
            sa.select(identities).where(
                identities.c.study_id == self.study.study_id, identities.c.rater_id == rater.rater_id
            )
        )
        if not found:
            return Platform(rater.platform)
        row = found[0]
        return Platform(row["platform"], row["platform_id"], row["session_id"] or "", row["submit_to"] or "")

    def leave(self, rater: Rater) -> None:
        """Lets a person stop; what they have not answered is free for others."""
        self.enter(rater, "withdrawn")

    def completion_code(self, rater: Rater) -> str:
        """Returns the code for the last page: the study's, or one that only this person can know."""
        return self.study.completion_code or self._mac("code", rater.rater_id)[:8].upper()

    def warned(self, rater: Rater, *, filtered: bool) -> Rater:
        """Notes that a person has read the warning, and whether sensitive items are to be left out for them."""
        with self.database.writing() as connection:
            connection.execute(sa.update(raters).where(*self._is(rater.rater_id)).values(filtered=filtered))
        return self.enter(replace(rater, filtered=filtered), "practice")

    def enter(self, rater: Rater, stage: Stage) -> Rater:
        """Notes how far a person is, and returns them so; who has finished or left stays so."""
        with self.database.writing() as connection:
            connection.execute(
                sa.update(raters)
                .where(*self._is(rater.rater_id), raters.c.stage.not_in(ENDED))
                .values(stage=stage, finished_utc=utc_now() if stage in ENDED else None)
            )
        return replace(rater, stage=stage)

    def is_taking_part(self, rater_id: str) -> sa.Select[tuple[str]]:
        """Returns the query for a person's stage; it finds nobody who has finished, left, or was removed."""
        return sa.select(raters.c.stage).where(*self._is(rater_id), raters.c.stage.not_in(ENDED))

    def is_there(self, active_until: float) -> bool:
        """True where a lease runs; one that ends later than a new one is of a clock that went back, and is over."""
        return self.now() <= active_until <= self.lease() + CLOCKS

    def are_there(self) -> sa.ColumnElement[bool]:
        """Returns the condition on the table of raters that `is_there` is for one of them."""
        return raters.c.active_until.between(self.now(), self.lease() + CLOCKS)

    def is_fresh(self, active_until: float) -> bool:
        """True where a lease need not be written anew yet."""
        return self.lease() - RENEWED <= active_until <= self.lease() + CLOCKS

    def keep(self, connection: sa.Connection, rater_id: str, active_until: float) -> None:
        """Notes within a transaction that a person is there: their trials are held for them again."""
        if not self.is_fresh(active_until):
            connection.execute(sa.update(raters).where(*self._is(rater_id)).values(active_until=self.lease()))

    def _has(self, token: str) -> tuple[sa.ColumnElement[bool], ...]:
        return raters.c.study_id == self.study.study_id, raters.c.token_hash == token_hash(token)

    def _is(self, rater_id: str) -> tuple[sa.ColumnElement[bool], ...]:
        return raters.c.study_id == self.study.study_id, raters.c.rater_id == rater_id

    def lease(self) -> float:
        """Returns until when the trials are held of a person who is here now."""
        return self.now() + 60 * self.study.lease_minutes

    def _mac(self, *parts: str) -> str:
        text = "|".join((self.study.study_id, *parts))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _taking_part(self, connection: sa.Connection) -> int:
        gone = sa.and_(raters.c.stage != "done", sa.not_(self.are_there()))
        here = (
            sa.select(sa.func.count())
            .select_from(raters)
            .where(raters.c.study_id == self.study.study_id, raters.c.stage != "withdrawn", sa.not_(gone))
        )
        return int(connection.scalar(here) or 0)


def identity(study: Study, rater_id: str, platform: Platform) -> dict[str, str]:
    """Returns the row that tells who stands behind a pseudonym."""
    return {
        "study_id": study.study_id, "rater_id": rater_id, "platform": platform.name, "platform_id": platform.person,
        "session_id": platform.session, "submit_to": platform.submit_to,
    }  # fmt: skip


_BY_TOKEN = sa.select(raters).where(
    raters.c.study_id == sa.bindparam("study"), raters.c.token_hash == sa.bindparam("token")
)
