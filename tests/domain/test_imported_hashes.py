"""Which password hashes of other systems are taken in."""

from __future__ import annotations

import pytest

from service.domain.auth.imported_hashes import fault

SALT, DIGEST = "c29tZXNhbHQ", "RdescudvJCsgt3ub+b4dWRWJTmaasdQhjIUuhJdV4eQ"
BCRYPT = "WqLdB2txfX6kUhgqY4CF0OmbOPTGG/oIUn19UYpyYRHmyY1H74YE6"


def argon2(kind: str = "id", cost: str = "m=65536,t=3,p=4", version: str = "v=19$") -> str:
    return f"$argon2{kind}${version}{cost}${SALT}${DIGEST}"


@pytest.mark.parametrize(
    "text",
    [
        argon2(),
        argon2("i"),
        argon2("d"),
        argon2(cost="m=8,t=1,p=1"),
        argon2(cost="m=262144,t=4,p=16"),
        argon2(cost="m=1024,t=1024,p=1"),
        f"$2b$04${BCRYPT}",
        f"$2a$12${BCRYPT}",
        f"$2y$14${BCRYPT}",
    ],
)
def test_usual_hashes_are_taken(text: str) -> None:
    """Hashes of argon2 and bcrypt in their usual form, up to the edge of what they may cost."""
    assert fault(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "password",
        "$argon2id$",
        argon2(cost="m=262145,t=1,p=1"),
        argon2(cost="m=262144,t=5,p=1"),
        argon2(cost="m=8,t=999999,p=1"),
        argon2(cost="m=8,t=1000000,p=1"),
        argon2(cost="m=4294967295,t=4294967295,p=1"),
        argon2(cost="m=262144,t=1,p=17"),
        argon2(cost="m=8,t=1,p=2"),
        argon2(cost="m=0,t=1,p=1"),
        argon2(cost="m=8,t=0,p=1"),
        argon2(cost="m=08,t=1,p=1"),
        argon2(cost="m=65536,t=3"),
        argon2(cost="m=65536,t=3,p=4,data=QUJD"),
        argon2(version=""),
        argon2(version="v=16$"),
        argon2("x"),
        argon2() + "\n",
        argon2() + "$",
        argon2().replace("$m", " $m"),
        argon2().replace("6", "٦"),
        f"$2b$03${BCRYPT}",
        f"$2b$15${BCRYPT}",
        f"$2b$31${BCRYPT}",
        f"$2x$12${BCRYPT}",
        f"$2$12${BCRYPT}",
        f"$2b$12${BCRYPT}x",
        f"$2b$12${BCRYPT[1:]}",
        f"$2b$12${BCRYPT}\n",
        "$1$salt$digest",
        "$6$salt$digest",
        "$scrypt$ln=16,r=8,p=1$c29tZXNhbHQ$digest",
        "5f4dcc3b5aa765d61d8327deb882cf99",
    ],
)
def test_everything_else_has_a_fault(text: str) -> None:
    """Other algorithms, other forms, and hashes that take longer than about a second are refused with a reason."""
    assert fault(text) is not None
