"""The description of the API as text."""

from __future__ import annotations

import functools
import json
from typing import Any


class OpenApi:
    """OpenAPI 3.1 from the route table, the operations of the views and the models of the bodies.

    Each text is made once, when somebody asks for it, and what makes it is imported then: a process that nobody asks
    keeps the megabytes.
    """

    @functools.cached_property
    def json(self) -> str:
        return json.dumps(_document(), ensure_ascii=False, separators=(",", ":"))

    @functools.cached_property
    def yaml(self) -> str:
        import yaml

        class Dumper(yaml.SafeDumper):
            def ignore_aliases(self, data: Any) -> bool:
                return True  # an anchor saves lines and costs every reader

        def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
            return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

        Dumper.add_representer(str, represent)
        text: str = yaml.dump(_document(), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
        return text


def _document() -> dict[str, Any]:
    from service.openapi.document import document

    return document()
