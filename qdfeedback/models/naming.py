"""Which model exactly: a folder by its content, a hub id by its commit."""

from __future__ import annotations

import hashlib
from pathlib import Path


def exact_name(model: str, revision: str | None = None, *, holds: str = "config.json") -> str:
    """Returns a folder's name with a digest of what is in it, or a hub id with its commit.

    Args:
        model: folder or hub id.
        revision: of the hub's repository.
        holds: a file that every such model has.

    Raises:
        OSError: There is no such model, or its commit cannot be told.
    """
    if Path(model).is_dir():
        return f"{Path(model).name}@{_digest(Path(model))}"
    from transformers.utils.hub import cached_file, extract_commit_hash  # takes seconds to load

    commit = extract_commit_hash(cached_file(model, holds, revision=revision), None)
    if not commit:
        raise OSError(f"which commit of {model} this is cannot be told: download it into a folder, and name that")
    return f"{model}@{commit}"


def _digest(folder: Path) -> str:
    """Returns what tells one content of a folder from another."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                name = path.relative_to(folder).as_posix()
                found.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()} ".encode())
    return found.hexdigest()[:16]
