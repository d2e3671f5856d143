"""What only the study's owner may know: the key behind pseudonyms and forms, and the token of the owner's pages.

Neither reaches a run or study folder. The key comes from the environment variable QDFEEDBACK_STUDY_KEY, which several
machines that serve one study must share, or from a file in the user's own state folder, made at the first start. Of the
token the database keeps a hash.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

import sqlalchemy as sa

from qdfeedback.feedback.database import Database
from qdfeedback.feedback.tables import keys, owners

VARIABLE = "QDFEEDBACK_STUDY_KEY"
LEAST = 16  # characters of a key from the environment


def study_key(study_id: str) -> bytes:
    """Returns the key of a study: the same at every start.

    Raises:
        ValueError: The key in the environment is too short, or the key file is damaged.
        OSError: The state folder cannot be written.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        if len(given) < LEAST:
            raise ValueError(f"{VARIABLE} must have at least {LEAST} characters")
        return key_from(given, study_id)
    path = key_path(study_id)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.touch(mode=0o600)
        part.write_text(secrets.token_hex(32))
        try:
            os.link(part, path)  # unlike a rename, it leaves a key alone that another process made meanwhile
        except FileExistsError:
            pass
        finally:
            part.unlink()
    text = path.read_text(errors="replace")
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"{path} is no key of a study: put it back from a copy, or remove it and lose who is who")
    return bytes.fromhex(text)


def keep_key(database: Database, study_id: str, key: bytes, *, replace: bool = False) -> None:
    """Notes under which key people are known, so that no other one takes its place unseen.

    Raises:
        ValueError: People are known under another key: they would not be known again.
    """
    mine = token_hash(key.hex())
    with database.writing(lock=study_id) as connection:
        known = connection.scalar(sa.select(keys.c.key_hash).where(keys.c.study_id == study_id))
        if known is not None and known != mine and not replace:
            place = VARIABLE if VARIABLE in os.environ else key_path(study_id)
            raise ValueError(
                f"the people of this study are known under another key than that in {place}: "
                f"put theirs back, or go on with --new-key (who comes back then counts as somebody new)"
            )
        connection.execute(sa.delete(keys).where(keys.c.study_id == study_id))
        connection.execute(sa.insert(keys).values(study_id=study_id, key_hash=mine))


def key_from(secret: str, study_id: str) -> bytes:
    """Returns the key of a study that follows from one secret for all studies."""
    return hmac.new(secret.encode(), study_id.encode(), hashlib.sha256).digest()


def key_path(study_id: str) -> Path:
    """Returns where the key of a study lies."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "qdfeedback" / f"{hashlib.sha256(study_id.encode()).hexdigest()[:32]}.key"


def new_token(database: Database, study_id: str, *, replace: bool = False) -> str | None:
    """Returns the token of the owner's pages, None where there is one already: it cannot be shown again.

    Args:
        database: the study's.
        study_id: which study.
        replace: makes a new one in any case; the old one is void.
    """
    token = secrets.token_urlsafe(18)
    with database.writing(lock=study_id) as connection:
        if replace:
            connection.execute(sa.delete(owners).where(owners.c.study_id == study_id))
        row = {"study_id": study_id, "token_hash": token_hash(token)}
        made = connection.execute(database.insert_new(owners).returning(owners.c.study_id), [row]).all()
    return token if made else None


def is_owner(database: Database, study_id: str, token: str | None) -> bool:
    """True for the token of the study's owner."""
    known = database.value(sa.select(owners.c.token_hash).where(owners.c.study_id == study_id))
    return bool(token) and known is not None and hmac.compare_digest(known, token_hash(str(token)))


def token_hash(token: str) -> str:
    """Returns what is stored of a token that opens something: who reads the database cannot use it."""
    return hashlib.sha256(token.encode()).hexdigest()
