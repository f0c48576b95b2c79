"""Certificates for loopback that vouch for themselves, valid until 2126; their keys protect nothing.

`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500` with 127.0.0.1, ::1 and
localhost as subjectAltName, basicConstraints CA:TRUE, and keyUsage digitalSignature and keyCertSign made them.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "tls"
ONE: Final = _FOLDER / "loopback_one.pem"
TWO: Final = _FOLDER / "loopback_two.pem"


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
