"""Who takes part: agreement, pseudonyms, cookies, and how far each person is."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.store import utc_now
from qdfeedback.feedback.tables import empty, identities, raters
from qdfeedback.study.settings import Study

Stage = Literal["practice", "trials", "done", "withdrawn"]


@dataclass(frozen=True)
class Rater:
    """A person who takes part."""

    rater_id: str
    stage: Stage
    platform: str


@dataclass(frozen=True)
class Platform:
    """How a person came: with what a recruiting platform puts into the address."""

    name: str  # prolific, mturk, link
    person: str = ""
    session: str = ""
    submit_to: str = ""


class StudyFullError(Exception):
    """The study has as many people as it wants."""


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

    def pseudonym(self, platform: Platform) -> str:
        """Returns a person's id in the study: the same for one platform id, random where there is none."""
        if not platform.person:
            return secrets.token_hex(8)
        return self._mac("rater", platform.name, platform.person)[:16]

    def form_token(self, token: str) -> str:
        """Returns what a form must carry to be taken for that of the person with this cookie."""
        return self._mac("form", token)

    def join(self, platform: Platform) -> str:
        """Takes in a person who has agreed, or finds one who comes back; returns a new cookie.

        Raises:
            StudyFullError: No more people are wanted.
        """
        token, rater_id = secrets.token_urlsafe(24), self.pseudonym(platform)
        this = self._is(rater_id)
        with self.database.writing(lock=self.study.study_id) as connection:
            if connection.scalar(sa.select(raters.c.rater_id).where(*this)) is not None:
                connection.execute(sa.update(raters).where(*this).values(token_hash=_hash(token)))
                return token
            if self.study.max_raters is not None and self._taking_part(connection) >= self.study.max_raters:
                raise StudyFullError
            now = utc_now()
            connection.execute(
                sa.insert(raters).values(
                    empty(raters)
                    | {
                        "study_id": self.study.study_id,
                        "rater_id": rater_id,
                        "token_hash": _hash(token),
                        "platform": platform.name,
                        "joined_utc": now,
                        "consent_utc": now,
                        "consent_sha256": self.study.consent_sha256,
                        "stage": "practice",
                        "active_until": self._lease(),
                    }
                )
            )
            if platform.person:
                connection.execute(
                    self.database.insert_new(identities).values(
                        study_id=self.study.study_id,
                        rater_id=rater_id,
                        platform=platform.name,
                        platform_id=platform.person,
                        session_id=platform.session,
                        submit_to=platform.submit_to,
                    )
                )
        return token

    def returning(self, platform: Platform) -> str | None:
        """Returns a new cookie for a person who has agreed before, None for one who has not."""
        if not platform.person:
            return None
        known = self.database.value(sa.select(raters.c.rater_id).where(*self._is(self.pseudonym(platform))))
        return None if known is None else self.join(platform)

    def rater(self, token: str | None) -> Rater | None:
        """Returns the person with this cookie."""
        if not token:
            return None
        query = sa.select(raters).where(raters.c.study_id == self.study.study_id, raters.c.token_hash == _hash(token))
        found = self.database.rows(query)
        return Rater(found[0]["rater_id"], found[0]["stage"], found[0]["platform"]) if found else None

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

    def enter(self, rater: Rater, stage: Stage) -> Rater:
        """Notes how far a person is, and returns them so."""
        with self.database.writing() as connection:
            connection.execute(
                sa.update(raters)
                .where(*self._is(rater.rater_id))
                .values(stage=stage, finished_utc=utc_now() if stage in ("done", "withdrawn") else None)
            )
        return Rater(rater.rater_id, stage, rater.platform)

    def keep(self, connection: sa.Connection, rater: Rater) -> None:
        """Notes within a transaction that a person is there: their trials are held for them again."""
        connection.execute(sa.update(raters).where(*self._is(rater.rater_id)).values(active_until=self._lease()))

    def _is(self, rater_id: str) -> tuple[sa.ColumnElement[bool], ...]:
        return raters.c.study_id == self.study.study_id, raters.c.rater_id == rater_id

    def _lease(self) -> float:
        return self.now() + 60 * self.study.lease_minutes

    def _mac(self, *parts: str) -> str:
        text = "|".join((self.study.study_id, *parts))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _taking_part(self, connection: sa.Connection) -> int:
        gone = sa.and_(raters.c.stage != "done", raters.c.active_until < self.now())
        here = (
            sa.select(sa.func.count())
            .select_from(raters)
            .where(raters.c.study_id == self.study.study_id, raters.c.stage != "withdrawn", sa.not_(gone))
        )
        return int(connection.scalar(here) or 0)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
