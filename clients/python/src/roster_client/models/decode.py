"""Builds the models from JSON, by their type hints."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Self

from roster_client.errors import Incomplete

Fields = dict[str, tuple[dataclasses.Field[Any], Callable[[Any], Any]]]

_FIELDS: Final[dict[type, Fields]] = {}  # reading the hints of a class takes longer than building a value of it

LOCAL: Final = "local"
"""Metadata of a field that is not part of the JSON."""
JSON_NAME: Final = "json_name"
"""Metadata of a field whose name in the JSON differs, because it is a keyword of Python."""


def local_field() -> Any:
    """A field that the client fills in; None if it has no value for it."""
    return dataclasses.field(default=None, compare=False, metadata={LOCAL: True})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A value of the API. Fields that this version of the client does not know are in `extra`."""

    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, metadata={LOCAL: True})

    @classmethod
    def from_json(cls, value: Any, **local: Any) -> Self:
        """Raises `Incomplete` if a field is missing or is not of its type. `local`: fields that are not part of the JSON."""
        if not isinstance(value, dict):
            raise Incomplete(f"{cls.__name__}: the response is not a JSON object.")
        known = fields_of(cls)
        arguments: dict[str, Any] = {}
        try:
            for name, (field, convert) in known.items():
                if name in value:
                    arguments[field.name] = convert(value[name])
            return cls(**arguments, **local, extra={name: item for name, item in value.items() if name not in known})
        except (TypeError, ValueError, AttributeError) as error:
            raise Incomplete(f"{cls.__name__}: the response is not as expected: {error}") from error


def fields_of(cls: type[Model]) -> Fields:
    """The fields of a model that are part of the JSON, by their JSON name, each with its converter."""
    if cls not in _FIELDS:
        _FIELDS[cls] = _read_fields(cls)
    return _FIELDS[cls]


def _read_fields(cls: type[Model]) -> Fields:
    hints = typing.get_type_hints(cls)
    return {
        field.metadata.get(JSON_NAME, field.name): (field, _converter(hints[field.name]))
        for field in dataclasses.fields(cls)
        if not field.metadata.get(LOCAL)
    }


def _converter(hint: Any) -> Callable[[Any], Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        [inner] = [argument for argument in arguments if argument is not types.NoneType]
        convert = _converter(inner)
        return lambda value: None if value is None else convert(value)
    if origin is tuple:
        convert = _converter(arguments[0])
        return lambda value: tuple(map(convert, value))
    if hint is datetime:
        return datetime.fromisoformat
    if isinstance(hint, type) and issubclass(hint, Model):
        return hint.from_json
    return lambda value: value
