"""The tables of a judgment store: what was asked, by and of whom, and what was answered.

One database holds any number of studies; a search's run is a study too. Judgments are append-only. Ids of items are
strings: a candidate's id within one run, "label/id" where a study joins several.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

SCHEMA = 2  # of the tables
RECORD = 1  # of a judgment as exported files hold it

meta = sa.MetaData()
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up plain integers only

versions = sa.Table("schema_version", meta, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))

judgments = sa.Table(
    "judgments",
    meta,
    sa.Column("id", _INTEGER, primary_key=True, autoincrement=True),
    sa.Column("study_id", sa.String, nullable=False, index=True),
    sa.Column("trial_id", sa.String, nullable=False),
    sa.Column("task", sa.String, nullable=False),  # triplet, pair, rating, label
    sa.Column("question", sa.String),  # which of the study's questions
    sa.Column(
        "kind", sa.String, nullable=False, default="main"
    ),  # main, repeat, catch, practice; surplus = too late to count
    sa.Column("purpose", sa.String, nullable=False),  # why the search asked: random, bald, …
    sa.Column("anchor_id", sa.String),
    sa.Column("left_id", sa.String, nullable=False),
    sa.Column("right_id", sa.String),
    sa.Column("choice", sa.String, nullable=False),  # left, right, tie, skip; value, label
    sa.Column("winner_id", sa.String),
    sa.Column("value", sa.Float),
    sa.Column("label", sa.String),
    sa.Column("probability", sa.Float),
    sa.Column("annotator_kind", sa.String, nullable=False),  # person, model, simulation
    sa.Column("annotator_id", sa.String, nullable=False),
    sa.Column("annotator_version", sa.String),
    sa.Column("position", sa.Integer),  # in the rater's own order, from 0
    sa.Column("response_ms", sa.Float),
    sa.Column("transcript_ref", sa.String),
    sa.Column("shown_utc", sa.String),
    sa.Column("answered_utc", sa.String, nullable=False),
    sa.UniqueConstraint("study_id", "trial_id", "kind", "annotator_id"),
    sqlite_autoincrement=True,  # an id is never given twice: models name the last answer they know
)

items = sa.Table(
    "items",
    meta,
    sa.Column("study_id", sa.String, primary_key=True),
    sa.Column("item_id", sa.String, primary_key=True),
    sa.Column("content", sa.String, nullable=False),  # file names in shown/, separated by spaces where it is a set
    sa.Column("source", sa.String),  # the run it comes from
    sa.Column("note", sa.Text),  # JSON: objective, measures, cell …
    sa.Column("sensitive", sa.Integer),  # 1 = only for people who want to see such things
)

trials = sa.Table(
    "trials",
    meta,
    sa.Column("number", _INTEGER, primary_key=True, autoincrement=True),
    sa.Column("study_id", sa.String, nullable=False),
    sa.Column("trial_id", sa.String, nullable=False),
    sa.Column("question", sa.String, nullable=False),
    sa.Column("task", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),  # main, catch, practice
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("anchor_id", sa.String),
    sa.Column("a_id", sa.String, nullable=False),
    sa.Column("b_id", sa.String),
    sa.Column("expected", sa.String),  # an item id, or a label: what a catch or practice trial wants
    sa.Column("published_utc", sa.String, nullable=False),
    sa.UniqueConstraint("study_id", "trial_id"),
    sqlite_autoincrement=True,
)

raters = sa.Table(
    "raters",
    meta,
    sa.Column("study_id", sa.String, primary_key=True),
    sa.Column("rater_id", sa.String, primary_key=True),  # HMAC of the platform's id, or random
    sa.Column("token_hash", sa.String, nullable=False, index=True),  # of the cookie
    sa.Column("platform", sa.String, nullable=False),
    sa.Column("joined_utc", sa.String, nullable=False),
    sa.Column("consent_utc", sa.String),
    sa.Column("consent_sha256", sa.String),
    sa.Column("stage", sa.String, nullable=False),  # warning, practice, trials, done, withdrawn
    sa.Column("filtered", sa.Boolean, nullable=False),  # sees no sensitive items
    sa.Column("active_until", sa.Float, nullable=False),  # seconds since 1970: till then the rater's trials are held
    sa.Column("finished_utc", sa.String),
)

identities = sa.Table(
    "identities",
    meta,
    sa.Column("study_id", sa.String, primary_key=True),
    sa.Column("rater_id", sa.String, primary_key=True),
    sa.Column("platform", sa.String, nullable=False),
    sa.Column("platform_id", sa.String, nullable=False),
    sa.Column("session_id", sa.String),  # of the platform: the first and the newest one, or the only one
    sa.Column("submit_to", sa.String),  # MTurk: where the form goes at the end
)

assignments = sa.Table(
    "assignments",
    meta,
    sa.Column("study_id", sa.String, primary_key=True),
    sa.Column("rater_id", sa.String, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("trial_id", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("swapped", sa.Boolean, nullable=False),  # b stands left
    sa.Column("shown_utc", sa.String),
    sa.Column("answered", sa.Boolean, nullable=False, default=False),
    sa.UniqueConstraint("study_id", "rater_id", "trial_id", "kind"),
    sa.Index("assignments_by_trial", "study_id", "trial_id"),
)

owners = sa.Table(
    "owners",
    meta,
    sa.Column("study_id", sa.String, primary_key=True),
    sa.Column("token_hash", sa.String, nullable=False),  # opens the owner's pages
)

tombstones = sa.Table(
    "tombstones",
    meta,
    sa.Column("number", _INTEGER, primary_key=True, autoincrement=True),
    sa.Column("study_id", sa.String, nullable=False),
    sa.Column("deleted_utc", sa.String, nullable=False),
    sa.Column("judgments", sa.Integer, nullable=False),
    sa.Column("first_judgment", sa.BigInteger),
)

erased = sa.Table(
    "erased",
    meta,
    sa.Column("study_id", sa.String, primary_key=True),
    sa.Column("judgment", _INTEGER, primary_key=True, autoincrement=False),  # the id alone: what is missing on purpose
)

removed = sa.Table(
    "removed",
    meta,
    sa.Column("study_id", sa.String, primary_key=True),
    sa.Column("name_hash", sa.String, primary_key=True),  # of a pseudonym that no import is to bring back
)

keys = sa.Table(
    "keys",
    meta,
    sa.Column("study_id", sa.String, primary_key=True),
    sa.Column("key_hash", sa.String, nullable=False),  # of the key under which people have their pseudonyms
)

SINCE = {erased.name: 2}
"""Tables that a schema before did not have."""

_KINDS = ("main", "repeat", "catch", "practice", "surplus")
_TASKS = ("triplet", "pair", "rating", "label")
ALLOWED: dict[tuple[str, str], tuple[str, ...]] = {
    ("judgments", "task"): _TASKS,
    ("judgments", "kind"): _KINDS,
    ("judgments", "choice"): ("left", "right", "tie", "skip", "value", "label"),
    ("judgments", "annotator_kind"): ("person", "model", "simulation"),
    ("trials", "task"): _TASKS,
    ("trials", "kind"): _KINDS,
    ("assignments", "kind"): _KINDS,
    ("raters", "stage"): ("warning", "practice", "trials", "done", "withdrawn"),
}
"""Columns of which a value that is not among these is damage."""


def empty(table: sa.Table) -> dict[str, Any]:
    """Returns None for every column that may be null: rows of one insert need one set of columns."""
    return {column.name: None for column in table.columns if column.nullable}
