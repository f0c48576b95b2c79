"""The TLS context of outbound calls and of mail delivery."""

from __future__ import annotations

import ssl
from functools import lru_cache

from service.config.settings import PREFIX, SettingsError


@lru_cache  # reading the system's authorities takes 30 ms, and calls out and mails share them
def create_context(ca_file: str) -> ssl.SSLContext:
    """A context that trusts the certificate authorities of the system and those of a PEM file.

    Args:
        ca_file: path of the file; empty for the system's authorities alone.

    Raises `SettingsError` when the file cannot be read.
    """
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
