"""Field rules at their edges."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import EmailStr, TypeAdapter, ValidationError

from service.domain.users import user
from service.schemas.fields import (
    Active,
    Age,
    Body,
    CurrentPassword,
    Email,
    Limit,
    Name,
    Password,
    Role,
    Username,
    spelled_login,
)

COMBINED = "e\N{COMBINING ACUTE ACCENT}"  # one code point once composed
FOX = "🦊"  # one code point, two UTF-16 units, four bytes


def accepts(kind: Any, value: object) -> bool:
    """Whether a body may carry the value there."""
    try:
        read(kind, value)
    except ValidationError:
        return False
    return True


def read(kind: Any, value: object) -> Any:
    return TypeAdapter[Any](kind).validate_python(value, strict=True)


@pytest.mark.parametrize("username", ["ada", "a.d", "---", "0_9", "a" * 32])
def test_username_is_3_to_32_of_its_alphabet(username: str) -> None:
    """Lower-case letters, digits, dot, underscore and hyphen make a username."""
    assert read(Username, username) == username


@pytest.mark.parametrize(
    "username",
    [
        "",
        "ab",
        "a" * 33,
        "Ada",
        "ada ",
        " ada",
        "ada\n",
        "ad\0a",
        "ada@x",
        "adä",
        "ａｄａ",
        "а\u0064а",
        "ada/",
        "a٣b",
        3,
        None,
    ],
)
def test_other_usernames_are_refused(username: object) -> None:
    """Other lengths, letters, spaces, line ends, look-alikes of other scripts and other types are refused."""
    assert not accepts(Username, username)


@given(st.text(max_size=40))
def test_username_rule_is_the_domains(username: str) -> None:
    """A username passes exactly if it has 3 to 32 characters of the alphabet."""
    fits = 3 <= len(username) <= 32 and set(username) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")

    assert accepts(Username, username) is fits


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada.Lovelace+x@Example.COM", "ada.lovelace+x@example.com"),
        ("ZOË@example.com", "zoë@example.com"),
        (f"zo{COMBINED}@example.com", "zoé@example.com"),
        (" ada@example.com ", "ada@example.com"),
        ("a@BÜCHER.example", "a@bücher.example"),
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("Ada@corp.LOCAL", "ada@corp.local"),
        ("ada@x.test", "ada@x.test"),
        ("ada@mail.corp.internal", "ada@mail.corp.internal"),
    ],
)
def test_address_is_kept_in_one_spelling(given: str, kept: str) -> None:
    """Case, composition and the two spellings of a domain make no other address."""
    assert read(Email, given) == kept
    assert read(Email, kept) == kept


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "a@b",
        "a@b@example.com",
        "ada@example.com.",
        "ada@.example.com",
        "a..b@example.com",
        ".a@example.com",
        "ada @example.com",
        "ada@example.com\n",
        "ada@example.com\r\nBcc: x@example.com",
        "ad\0a@example.com",
        "ada@[127.0.0.1]",
        "ada@localhost",
        "ada@local",
        "ada@test",
        "ada@x.onion",
        "ada@example.invalid",
        '"a b"@example.com',
        "Ada <ada@example.com>",
        None,
        1,
        ["ada@example.com"],
    ],
)
def test_other_addresses_are_refused(address: object) -> None:
    """Text that is not one bare Internet address is refused."""
    assert not accepts(Email, address)


def test_address_has_254_bytes_at_most() -> None:
    """254 bytes in UTF-8 pass and 255 do not, though they be fewer code points."""
    domain = ".".join(["b" * 63, "c" * 63, "d" * 61])  # 189, with the @ 190
    longest = f"{'a' * 60}@{domain}.com"

    assert len(longest) == 254
    assert accepts(Email, longest)
    assert not accepts(Email, f"a{longest}")
    wide = f"é{longest[1:]}"
    assert (len(wide), len(wide.encode())) == (254, 255)
    assert not accepts(Email, wide)


@pytest.mark.parametrize("name", ["", "x" * 100, FOX * 100, "Zoë", "א\N{ZERO WIDTH JOINER}", " x ", "<script>"])
def test_name_is_any_text_up_to_100_code_points(name: str) -> None:
    """A name may be empty and hold any script; what is counted are code points."""
    assert read(Name, name) == name


@pytest.mark.parametrize("name", ["x" * 101, FOX * 101, "a\nb", "a\0", "\x1b[31m", "a\u2028b", "\x85", "\x7f", None, 1])
def test_other_names_are_refused(name: object) -> None:
    """101 code points, control characters, line separators and other types are refused."""
    assert not accepts(Name, name)


def test_name_is_counted_composed() -> None:
    """A name is kept in NFC and counted so: a hundred letters typed with combining accents fit."""
    assert read(Name, COMBINED * 100) == "é" * 100
    assert not accepts(Name, COMBINED * 101)


@given(st.text(max_size=120))
def test_name_that_is_kept_keeps_its_own_rule(name: str) -> None:
    """The stored form of a name is accepted again unchanged."""
    if accepts(Name, name):
        kept = read(Name, name)
        assert kept == unicodedata.normalize("NFC", name) == read(Name, kept)


@pytest.mark.parametrize("age", [0, 1, 149, 150])
def test_age_is_0_to_150(age: int) -> None:
    """Whole years from 0 to 150 are ages, also with a zero after the point: in JSON that is the same number."""
    assert read(Age, age) == read(Age, float(age)) == age


@pytest.mark.parametrize("age", [-1, 151, 10**30, 1e30, 36.5, "36", True, False, [], {}])
def test_other_ages_are_refused(age: object) -> None:
    """Other numbers are refused, and so is what only looks like a number."""
    assert not accepts(Age, age)


@pytest.mark.parametrize("value", [0, 1, "true", "", None])
def test_active_is_a_boolean(value: object) -> None:
    """Nothing but true and false is a boolean."""
    assert not accepts(Active, value)
    assert accepts(Active, True)
    assert accepts(Active, False)


@pytest.mark.parametrize("value", ["Admin", "owner", "", None, 1, True])
def test_role_is_one_of_two(value: object) -> None:
    """There are two roles, written in lower case."""
    assert not accepts(Role, value)
    assert accepts(Role, "member")
    assert accepts(Role, "admin")


@pytest.mark.parametrize("password", ["x" * 8, "x" * 1024, FOX * 8, FOX * 1024, "        x", "\0" * 7 + "x"])
def test_password_is_8_to_1024_code_points(password: str) -> None:
    """Any 8 to 1,024 code points are a password, taken as they are."""
    assert read(Password, password) == password


@pytest.mark.parametrize(
    "password", ["", "x" * 7, FOX * 7, "x" * 1025, FOX * 1025, " " * 8, "\t\n" * 8, None, 12345678]
)
def test_other_passwords_are_refused(password: object) -> None:
    """7 and 1,025 code points, nothing but space, and other types are refused."""
    assert not accepts(Password, password)


@pytest.mark.parametrize(("length", "fits"), [(0, True), (1, True), (1024, True), (1025, False)])
def test_present_password_may_be_anything_that_was_one(length: int, fits: bool) -> None:
    """The present password is only bounded: whether it is right is for the hash to say."""
    assert accepts(CurrentPassword, "x" * length) is fits


@pytest.mark.parametrize("text", ["1", "20", "100", "007"])
def test_limit_is_1_to_100(text: str) -> None:
    """A limit is a whole number from 1 to 100, as text of a query."""
    assert TypeAdapter[int](Limit).validate_python(text) == int(text)


@pytest.mark.parametrize("text", ["0", "-1", "101", "1e2", "+1", " 1", "1 ", "1_0", "٣", "1.0", "", "abc", "9" * 19])
def test_other_limits_are_refused(text: str) -> None:
    """Other numbers, signs, spaces and other scripts' digits are refused."""
    with pytest.raises(ValidationError):
        TypeAdapter[int](Limit).validate_python(text)


class Example(Body):
    age: Age
    email: Email


def test_body_takes_no_other_fields() -> None:
    """A body with a field that it does not have is refused, and the field named."""
    with pytest.raises(ValidationError) as refused:
        Example.model_validate({"age": 1, "email": "ada@example.com", "is_admin": True})

    assert [(error["loc"], error["type"]) for error in refused.value.errors()] == [(("is_admin",), "extra_forbidden")]


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_body_is_an_object(value: object) -> None:
    """Nothing but an object is a body."""
    assert not accepts(Example, value)


def test_limits_of_fields_are_those_of_the_domain() -> None:
    """The rules that a schema tells are those of the domain."""
    schemas = {kind: TypeAdapter[Any](kind).json_schema() for kind in (Username, Email, Name, Age, Password)}

    assert schemas[Username]["pattern"] == user.USERNAME_PATTERN
    assert (schemas[Email]["maxLength"], schemas[Email]["format"]) == (user.EMAIL_MAX, "email")
    assert schemas[Name]["maxLength"] == user.NAME_MAX
    assert (schemas[Age]["minimum"], schemas[Age]["maximum"]) == (0, user.AGE_MAX)
    assert (schemas[Password]["minLength"], schemas[Password]["maxLength"]) == (user.PASSWORD_MIN, user.PASSWORD_MAX)


@pytest.mark.parametrize(
    "spellings",
    [
        ("ada", "Ada", "ADA"),
        ("zo\u00eb@x.com", "zoe\u0308@x.com", "ZO\u00cb@x.com", "ZOE\u0308@X.COM"),
        ("karl", "\u212aarl", "KARL"),
        ("ada@xn--bcher-kva.example", "ada@b\u00fccher.example", "Ada@B\u00dcCHER.example"),
    ],
)
def test_login_has_one_spelling(spellings: tuple[str, ...]) -> None:
    """Every spelling of a login is looked up, and counted, as one."""
    assert len({spelled_login(login) for login in spellings}) == 1


LOCALS = st.one_of(
    st.from_regex(r"[a-z0-9]+([._+-][a-z0-9]+)*", fullmatch=True),
    st.text("ab0.+-_'\"@<( é\uff41", max_size=8),
    st.integers(60, 70).map(lambda length: "a" * length),
)
DOMAINS = st.one_of(
    st.sampled_from(
        [
            *(
                "example.com",
                "Example.com",
                "example.test",
                "localhost",
                "a.local",
                "example",
                "a..b",
                "-a.com",
                "a-.com",
            ),
            *(
                "xn--mnchen-3ya.de",
                "xn--a.com",
                "ab--cd.com",
                "münchen.de",
                "ｅxample.com",
                "[127.0.0.1]",
                "1.2.3.4",
                "a.1",
            ),
            *(
                "a" * 63 + ".com",
                "a" * 64 + ".com",
                ".".join(["a" * 60] * 4),
                ".".join(["a" * 62] * 4),
                "a.com\n",
                "a.com.",
            ),
        ]
    ),
    st.from_regex(r"[a-z0-9-]{1,10}(\.[a-z0-9-]{1,10}){0,3}", fullmatch=True),
    st.integers(180, 260).map(lambda length: ".".join(["a" * 50] * 5)[: length - 4] + ".com"),
)
# The rule without the short cut for addresses that are as they are kept.
SLOWLY: Any = Annotated[(EmailStr, *cast(Any, Email).__metadata__[:-1])]


@given(st.builds("{}@{}".format, LOCALS, DOMAINS) | st.text("ab@.<>", max_size=10))
def test_short_cut_says_what_the_library_says(address: str) -> None:
    """An address that is taken without asking the library is one that it would give back as it is."""
    assert accepts(Email, address) == accepts(SLOWLY, address)
    if accepts(Email, address):
        assert read(Email, address) == read(SLOWLY, address)
