"""The description of the API as text."""

from __future__ import annotations

import functools
import json
from typing import Any


class OpenApi:
    """OpenAPI 3.1 from the route table, the operations of the views and the models of the bodies.

    Each text is generated once, on the first request, and the generator is imported then: a process without such a request
    saves the megabytes.

    Args:
        server: URL of the service, which may be relative to that of the description; empty for that of `make run`.
    """

    def __init__(self, server: str = "") -> None:
        self._server = server

    def _document(self) -> dict[str, Any]:
        from service.http.openapi.document import document

        return document(self._server) if self._server else document()

    @functools.cached_property
    def json(self) -> str:
        return json.dumps(self._document(), ensure_ascii=False, separators=(",", ":"))

    @functools.cached_property
    def yaml(self) -> str:
        import yaml

        class Dumper(yaml.SafeDumper):
            def ignore_aliases(self, data: Any) -> bool:
                return True  # an anchor saves lines and costs every reader

        def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
            return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

        Dumper.add_representer(str, represent)
        text: str = yaml.dump(self._document(), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
        return text
