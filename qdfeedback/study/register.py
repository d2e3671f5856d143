"""Who takes part: agreement, pseudonyms, cookies, and how far each person is."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.store import utc_now
from qdfeedback.feedback.study import Study
from qdfeedback.feedback.tables import empty, identities, raters
from qdfeedback.study import sessions
from qdfeedback.study.secrets import token_hash

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

        Who comes with a new session of their platform goes on where they were, as the same person; who had left the
        study before takes part again.

        Raises:
            StudyFullError: No more people are wanted.
            CookieTakenError: The cookie is another person's.
            NoSessionError: They began with a session of their platform, and name none.
        """
        rater_id = self.pseudonym(platform, token)
        this = self._is(rater_id)
        with self.database.writing(lock=self.study.study_id) as connection:
            owner = connection.scalar(sa.select(raters.c.rater_id).where(*self._has(token)))
            if owner not in (None, rater_id):
                raise CookieTakenError("the cookie is another person's")
            stage = connection.scalar(sa.select(raters.c.stage).where(*this))
            if stage is None:
                self._refuse_if_full(connection)
                self._add(connection, rater_id, platform, token)
            else:
                values = self._come_back(connection, rater_id, platform, stage, known=owner is not None)
                connection.execute(sa.update(raters).where(*this).values(values | {"token_hash": token_hash(token)}))
        rater = self.rater(token)
        assert rater is not None, "it was written just now"
        return rater

    def _refuse_if_full(self, connection: sa.Connection) -> None:
        if (
            self.study.max_raters is not None
            and (connection.scalar(self._count(here=True)) or 0) >= self.study.max_raters
        ):
            raise StudyFullError

    def places(self) -> Literal["free", "taken", "full"]:
        """Returns whether more people can take part: "taken" where some who hold a place may still give it up."""
        most = self.study.max_raters
        if most is None or self.database.value(self._count(here=True)) < most:
            return "free"
        return "taken" if self.database.value(self._count(here=False)) < most else "full"

    def _come_back(
        self, connection: sa.Connection, rater_id: str, platform: Platform, stage: str, *, known: bool
    ) -> dict[str, Any]:
        """Notes with which session a person comes back; returns the columns of theirs that this changes."""
        if not platform.person:
            return {}
        noted = connection.scalar(self._sessions(rater_id))
        values = {"session_id": sessions.after(noted, platform.session, known=known)}
        if platform.submit_to:
            values["submit_to"] = platform.submit_to
        this = identities.c.study_id == self.study.study_id, identities.c.rater_id == rater_id
        connection.execute(sa.update(identities).where(*this).values(values))
        if stage != "withdrawn" or not sessions.is_new(noted, platform.session):
            return {}
        self._refuse_if_full(connection)
        return self._agreed() | {"active_until": 0.0, "finished_utc": None}  # what they held went to others meanwhile

    def _sessions(self, rater_id: str) -> sa.Select[Any]:
        return sa.select(identities.c.session_id).where(
            identities.c.study_id == self.study.study_id, identities.c.rater_id == rater_id
        )

    def is_proven(self, rater: Rater) -> bool:
        """False for who may be somebody else that knows the person's id on their platform."""
        return sessions.is_proven(self.database.value(self._sessions(rater.rater_id)))

    def _agreed(self) -> dict[str, Any]:
        """Returns the columns of who has just agreed to take part."""
        stage = "warning" if self.study.sensitive else "practice"
        return {
            "consent_utc": utc_now(), "consent_sha256": self.study.consent_sha256, "stage": stage, "filtered": False,
        }  # fmt: skip

    def _add(self, connection: sa.Connection, rater_id: str, platform: Platform, token: str) -> None:
        row = {
            "study_id": self.study.study_id,
            "rater_id": rater_id,
            "token_hash": token_hash(token),
            "platform": platform.name,
            "joined_utc": utc_now(),
            "active_until": self.lease(),
        }
        connection.execute(sa.insert(raters).values(empty(raters) | row | self._agreed()))
        if platform.person:
            connection.execute(self.database.insert_new(identities).values(identity(self.study, rater_id, platform)))

    def returning(self, platform: Platform, token: str) -> Rater | None:
        """Returns the person who agreed before, to whom the cookie now belongs; None for one who is to agree first.

        Raises:
            CookieTakenError: The cookie is another person's.
            NoSessionError: They began with a session of their platform, and name none.
        """
        rater_id = self.pseudonym(platform, token)
        stage = self.database.value(sa.select(raters.c.stage).where(*self._is(rater_id)))
        if stage is None:
            return None
        if stage == "withdrawn" and sessions.is_new(self.database.value(self._sessions(rater_id)), platform.session):
            return None
        return self.join(platform, token)

    def rater(self, token: str | None) -> Rater | None:
        """Returns the person with this cookie."""
        if not token:
            return None
        for row in self.database.rows(_BY_TOKEN, study=self.study.study_id, token=token_hash(token)):
            return Rater(row["rater_id"], row["stage"], row["platform"], row["filtered"], row["active_until"])
        return None

    def identity(self, rater: Rater) -> Platform:
        """Returns how the person came, the last time; only the last page needs it."""
        found = self.database.rows(
            sa.select(identities).where(
                identities.c.study_id == self.study.study_id, identities.c.rater_id == rater.rater_id
            )
        )
        if not found:
            return Platform(rater.platform)
        row = found[0]
        session = sessions.newest(row["session_id"])
        return Platform(row["platform"], row["platform_id"], session, row["submit_to"] or "")

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

    def _count(self, *, here: bool) -> sa.Select[Any]:
        """Returns the query for how many have finished; with `here`, or hold a place until they do."""
        counts = raters.c.stage == "done"
        if here:
            counts = sa.or_(counts, sa.and_(raters.c.stage != "withdrawn", self.are_there()))
        query = sa.select(sa.func.count()).select_from(raters)
        return query.where(raters.c.study_id == self.study.study_id, counts)


def identity(study: Study, rater_id: str, platform: Platform) -> dict[str, str]:
    """Returns the row that tells who stands behind a pseudonym."""
    return {
        "study_id": study.study_id, "rater_id": rater_id, "platform": platform.name, "platform_id": platform.person,
        "session_id": platform.session, "submit_to": platform.submit_to,
    }  # fmt: skip


_BY_TOKEN = sa.select(raters).where(
    raters.c.study_id == sa.bindparam("study"), raters.c.token_hash == sa.bindparam("token")
)
