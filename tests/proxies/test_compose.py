"""The files that start several containers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from service.config.settings import Settings
from tests.support.programs import find_program

_DEPLOY: Final = Path(__file__).parents[2] / "deploy"


def test_containers_have_settings_that_exist() -> None:
    """Every `ROSTER_…` of compose.yaml is a setting, and together they name shared stores."""
    compose: dict[str, Any] = yaml.safe_load((_DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    environments = [
        service["environment"] for name, service in compose["services"].items() if name.startswith("roster")
    ]
    assert len(environments) == 2
    for environment in environments:
        names = {name.removeprefix("ROSTER_").lower() for name in environment}
        assert names <= set(Settings.model_fields)
        assert {"store_url", "redis_url", "workers", "trusted_proxies"} <= names


@pytest.mark.proxy("caddy")
def test_the_file_for_caddy_is_valid() -> None:
    """Caddy takes compose.Caddyfile as it is shipped."""
    caddy = find_program("caddy")
    assert caddy is not None
    command = [caddy, "adapt", "--adapter", "caddyfile", "--config", str(_DEPLOY / "compose.Caddyfile")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
