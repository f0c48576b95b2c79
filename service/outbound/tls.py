"""Whom calls out believe."""

from __future__ import annotations

import ssl
from functools import lru_cache

from service.config.settings import PREFIX, SettingsError


@lru_cache  # reading the system's authorities takes 30 ms, and calls out and mails share them
def trusted(ca_file: str) -> ssl.SSLContext:
    """The system's certificate authorities and those of a file, unless it is empty; raises `SettingsError`."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # SSLError is one
            raise SettingsError(
                f"{PREFIX}OUTBOUND_CA_FILE={ca_file!r}: cannot be read as PEM certificates"
                f" ({error.strerror or type(error).__name__})"
            ) from None
    return context
