"""Reads the settings, and says in a sentence each what is wrong with them."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSetting

from service.config.env_file import UnreadableFile, check_file, names_in
from service.config.secret_values import HIDDEN, display_secret, is_secret
from service.config.settings import ENV_FILE, PREFIX, Settings, SettingsError

_USERINFO: Final = re.compile(r"(?<=://)[^\s\"',]*@")


def load(**overrides: Any) -> Settings:
    """Read the settings; keyword arguments win over the environment, that wins over `.env`.

    Raises `SettingsError` naming every variable that cannot be used.
    """
    try:
        if (file := overrides.get("_env_file", ENV_FILE)) is not None:
            check_file(Path(file))
        return Settings(**overrides)
    except UnreadableFile as error:
        raise SettingsError(str(error)) from None
    except ValidationError as error:
        lines = [_sentence(dict(problem)) for problem in error.errors(include_url=False)]
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None
    except UnreadableSetting as error:
        name = str(error).split('"')[1]
        # The value may come from `.env`, so the environment need not have it.
        text = getattr(error.__cause__, "doc", None)
        shown = HIDDEN if is_secret(Settings.model_fields[name].annotation) else repr(text)
        raise SettingsError(f"{PREFIX}{name.upper()}={shown}: is not JSON") from None


class UnknownVariable(NamedTuple):
    """A variable with our prefix that no setting reads: most often a misspelt one.

    Attributes:
        where: `environment` or `.env`.
        nearest: the setting with the most similar name; None where none is similar.
    """

    name: str
    where: str
    nearest: str | None


def unknown_variables() -> list[UnknownVariable]:
    """Those of the environment and of `.env`, whose names are read without regard to case."""
    known = [name.upper() for name in Settings.model_fields]
    found = []
    for where, names in (("environment", os.environ), (ENV_FILE, names_in(Path(ENV_FILE)))):
        for name in sorted(names):
            bare = name.upper().removeprefix(PREFIX)
            if name.upper().startswith(PREFIX) and bare not in known:
                nearest = get_close_matches(bare, known, 1)
                found.append(UnknownVariable(name, where, PREFIX + nearest[0] if nearest else None))
    return found


def _sentence(problem: dict[str, Any]) -> str:
    name = str(problem["loc"][0])
    annotation = Settings.model_fields[name].annotation
    shown = display_secret(annotation, problem["input"]) if is_secret(annotation) else _display(problem["input"])
    sentence = f"{PREFIX}{name.upper()}={shown}: {problem['msg'].removeprefix('Value error, ')}"
    if str(problem["input"]).startswith("tcp://"):
        # Kubernetes gives every pod NAME_PORT=tcp://… for a Service called NAME.
        sentence += " (Kubernetes sets this for a Service named roster; set enableServiceLinks: false on the pod)"
    return sentence


def _display(value: object) -> str:
    # A URL may carry a password where none belongs.
    return _USERINFO.sub("…@", repr(value))
