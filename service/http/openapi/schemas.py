"""The models of bodies and answers, as JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from service.http.operations import Operation
from service.schemas.problems import Problem

_REF: Final = "#/components/schemas/{model}"


class Generator(GenerateJsonSchema):
    """JSON Schema in the words of this API: a name is enough of a title, and nothing is said in two ways."""

    def normalize_name(self, name: str) -> str:
        return super().normalize_name(name).removesuffix("Answer")

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value  # as the models have it, which is how they are read

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        described = super().model_schema(schema)
        described.pop("title", None)
        return described

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        described = super().nullable_schema(schema)
        inner: JsonSchemaValue = described["anyOf"][0]
        if len(described["anyOf"]) > 2 or not isinstance(inner.get("type"), str) or "enum" in inner or "const" in inner:
            return described
        return {**inner, "type": [inner["type"], "null"]}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]  # null is what leaving it out means
        return described


class Schemas:
    """The models of these operations, as `components.schemas`."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        models: dict[tuple[type[BaseModel], Any], None] = {(Problem, "serialization"): None}
        for operation in operations:
            if operation.body is not None:
                models[operation.body, "validation"] = None
            for reply in operation.replies.values():
                for model in (reply.model, *reply.events.values()):
                    if model is not None:
                        models[model, "serialization"] = None
        self._references: Mapping[Any, JsonSchemaValue]
        self._references, definitions = models_json_schema(list(models), ref_template=_REF, schema_generator=Generator)
        self.components: dict[str, Any] = definitions["$defs"]

    def body(self, model: type[BaseModel]) -> JsonSchemaValue:
        return self._references[model, "validation"]

    def answer(self, model: type[BaseModel]) -> JsonSchemaValue:
        return self._references[model, "serialization"]


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """An example of a model, from the examples of its fields."""
    schema = model.model_json_schema(mode="serialization")
    example: dict[str, Any] = _example(schema, schema.get("$defs", {}))
    return example


def _example(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return _example(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return _example(schema[key][0], definitions)
    match schema.get("type"):
        case "object":
            return {
                name: _example(field, definitions)
                for name, field in schema.get("properties", {}).items()
                if name in schema.get("required", ()) or "examples" in field
            }
        case "array":
            return [_example(schema["items"], definitions)]
        case _:
            return schema.get("const", schema.get("default"))
