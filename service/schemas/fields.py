"""Field rules, as types that every body shares."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    validate_email,
)
from pydantic_core import PydanticCustomError

from service.config.email_domains import accept_private_domains
from service.domain.auth import api_token
from service.domain.users import user

accept_private_domains()


class Body(BaseModel):
    """A JSON object of a request. Unknown and read-only fields are refused, and types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class ResponseModel(BaseModel):
    """A JSON object of a response."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


class Query(BaseModel):
    """Query parameters; each may appear once."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


CURSOR_PATTERN: Final = r"^[A-Za-z0-9_-]+$"
OTP_MAX: Final = 64  # code points: more than a recovery code with spaces needs


def _no_control(text: str) -> str:
    if user.has_control(text):
        raise PydanticCustomError("control_character", "Must not contain control characters or line separators")
    return text


def _address_alone(value: Any) -> Any:
    # EmailStr takes `Ada <ada@example.com>` and keeps what is in the brackets: another reader may keep the rest.
    if isinstance(value, str) and "<" in value:
        raise PydanticCustomError("not_alone", "Must be an address alone, without a name")
    return value


def _plain(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """An address that the library would give back as it is, known without it, which takes 20 µs; else what it says."""
    if isinstance(value, str):
        local, _, domain = value.partition("@")
        if (
            len(local) <= 64
            and _PLAIN.match(local)
            and len(value) <= user.EMAIL_MAX
            and len(domain) < 200
            and _is_domain(domain)
        ):
            return value
    return check(value)


@functools.lru_cache(4096)
def _is_domain(text: str) -> bool:
    """Whether this is a domain as it is kept. The library looks at both halves of an address by themselves."""
    address = f"a@{text}"
    try:
        return (
            text.isascii()
            and "<" not in text
            and validate_email(address)[1] == address == user.normalise_email(address)
        )
    except PydanticCustomError:
        return False


def _email(text: str) -> str:
    text = user.normalise_email(text)
    if len(text.encode()) > user.EMAIL_MAX:
        raise PydanticCustomError("too_long", "Must not be longer than 254 bytes")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "Must not be blank")
    return text


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _whole(value: Any) -> Any:
    # JSON has one kind of number, and to JSON Schema (2020-12, Validation 6.1.1) 36.0 is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


_PRINTABLE: Final = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"  # what `_no_control` takes
_PLAIN: Final = re.compile(r"[a-z0-9]+(?:[._+-][a-z0-9]+)*\Z", re.ASCII)  # at most 64 of them: RFC 5321, 4.5.3.1.1
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}\Z", re.ASCII)


def digits(value: Any) -> Any:
    """The number in a query parameter."""
    # int() also takes signs, spaces, underscores and the digits of every script.
    if isinstance(value, str):
        if _NUMBER.match(value) is None:
            raise PydanticCustomError("int_parsing", "Must be a whole number")
        return int(value)
    return value


Username = Annotated[
    str,
    Field(
        pattern=user.USERNAME_PATTERN,
        description="Unique name: 3 to 32 of `a-z`, `0-9`, `.`, `_`, `-`.",
        examples=["ada"],
    ),
]
Email = Annotated[
    EmailStr,
    AfterValidator(_email),
    Field(
        max_length=user.EMAIL_MAX,
        description="Unique address, at most 254 bytes; kept in lower case and NFC, so that two spellings of one address are equal.",
        examples=["ada@example.com"],
    ),
    BeforeValidator(_address_alone),
    WrapValidator(_plain),
]
Name = Annotated[
    str,
    AfterValidator(_no_control),
    AfterValidator(_nfc),
    Field(
        max_length=user.NAME_MAX,
        description="Name for people, at most 100 code points without control characters; may be empty.",
        examples=["Ada Lovelace"],
        json_schema_extra={"pattern": _PRINTABLE},
    ),
]
# Compared with what is kept in NFC. A NUL would not get past a database.
Search = Annotated[
    str,
    AfterValidator(_no_control),
    AfterValidator(_nfc),
    Field(min_length=1, max_length=user.NAME_MAX, examples=["ada"], json_schema_extra={"pattern": _PRINTABLE}),
]
Age = Annotated[
    int,
    Field(ge=0, le=user.AGE_MAX, description="Whole years, 0 to 150; null if unknown.", examples=[36]),
    BeforeValidator(_whole),
]
Role = Annotated[
    Literal["member", "admin"],
    Field(description="`admin` may do everything, `member` reads and changes itself.", examples=["member"]),
]
Active = Annotated[bool, Field(description="An inactive account cannot log in and has no sessions.", examples=[True])]
Password = Annotated[
    str,
    AfterValidator(_not_blank),
    Field(
        min_length=user.PASSWORD_MIN,
        max_length=user.PASSWORD_MAX,
        description=(
            "8 to 1,024 code points, any of Unicode but not spaces alone; none of the commonest 10,000 passwords, nor made "
            "of the account's own names. Hashed with argon2id, never shown."
        ),
        examples=["correct horse battery staple"],
        json_schema_extra={"format": "password", "pattern": r"[^\s\u001c-\u001f\u0085]"},
    ),
]
CurrentPassword = Annotated[
    str,
    Field(
        max_length=user.PASSWORD_MAX,
        description="The caller's present password; needed to change its own e-mail address, otherwise not looked at.",
        examples=["correct horse battery staple"],
    ),
]
Otp = Annotated[
    str,
    Field(
        min_length=1,
        max_length=OTP_MAX,
        description=(
            "The code that the app shows, six digits, or one of the recovery codes; needed where the account has a second "
            "factor, otherwise not looked at. Spaces, and the case of letters, make no difference."
        ),
        examples=["123456"],
    ),
]
TokenName = Annotated[
    str,
    AfterValidator(_no_control),
    AfterValidator(_nfc),
    Field(
        min_length=1,
        max_length=api_token.NAME_MAX,
        description="For people, to tell it from others: at most 100 code points without control characters.",
        examples=["nightly export"],
        json_schema_extra={"pattern": _PRINTABLE},
    ),
]
Life = Annotated[
    int,
    # A hundred years, which every clock and database can add.
    Field(ge=1, le=3_153_600_000, description="In seconds.", examples=[2_592_000]),
    BeforeValidator(_whole),
]
Limit = Annotated[
    int,
    Field(ge=1, le=100, description="How many at most, 1 to 100.", examples=[20]),
    BeforeValidator(digits),
]


def spelled_login(login: str) -> str:
    """A username or e-mail address in the normal form by which accounts are found."""
    try:
        return user.normalise_email(validate_email(login)[1])
    except PydanticCustomError:  # a username, or no address at all: it will not be found
        return user.normalise_email(login)
