"""The file of `Saved`: a pair of tokens that survives a crash at any point."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SavedTokens:
    """A pair of tokens. `expires_at`: when the access token ends, in seconds since 1970."""

    access_token: str
    refresh_token: str
    expires_at: float

    def __repr__(self) -> str:
        return f"SavedTokens(expires_at={self.expires_at})"


def read_tokens(path: Path) -> SavedTokens | None:
    """None if the file does not exist. Raises `ValueError` if it contains anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        document = json.loads(text)
        return SavedTokens(str(document["access_token"]), str(document["refresh_token"]), float(document["expires_at"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not contain a saved session. Remove it and log in again.") from error


def write_tokens(path: Path, tokens: SavedTokens) -> None:
    """Replace the file as a whole. After the return the tokens are on the disk."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(tokens), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            new.unlink()
        raise
