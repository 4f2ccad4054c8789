"""The pages about the Config Server: what they say is read is read, and their example does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from gateway.discovery.config_server.properties import properties_of
from gateway.routing.spec.loader import parse
from gateway.routing.spec.remote_settings import _SETTINGS, GIVEN
from tests.support.config_server import answer_of

DOCS = Path(__file__).parents[3] / "docs"
STEPS = (DOCS / "how-to" / "config-server.md").read_text("utf-8")
TEXT = (DOCS / "reference" / "config-server.md").read_text("utf-8")
FILES = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", STEPS, re.DOTALL))


def flat(node: Any, name: str = "") -> dict[str, Any]:
    """YAML as a Config Server writes it."""
    if isinstance(node, dict):
        return {
            key: value
            for word, below in node.items()
            for key, value in flat(
                below, name + (word if word[:1] == "[" or not name else f".{word}")
            ).items()
        }
    if isinstance(node, list):
        return {
            key: value for at, item in enumerate(node) for key, value in flat(item, f"{name}[{at}]").items()
        }
    return {name: node}


def test_the_example_gives_the_routes_it_promises() -> None:
    sources = [flat(yaml.safe_load(FILES[name])) for name in ("gateway-server.yml", "application.yml")]
    found = properties_of(answer_of(*sources), {})
    assert found.ignored == ()
    table = parse(b"routes: []", "routes.yaml", {}, found)
    (route,) = table.routes
    assert (route.id, route.upstream.uri) == ("orders", "http://127.0.0.1:8101")
    assert [str(each) for each in route.filters] == [
        "[AddResponseHeader X-Served-By = 'gateway']",
        "[StripPrefix parts = 1]",
    ]
    assert table.cors["/**"].allowed_origins == ("https://tickets.example.com",)
    assert table.locator is not None
    assert table.tokens == {"jwt_jwks_uri": ("http://auth.example.com/.well-known/jwks.json",)}


def test_every_setting_that_is_given_is_described_and_when_it_counts() -> None:
    described = re.findall(
        r"^\| `([\w.~*\[\]-]+)` \| `(\w+)`.* \| (at once|next start) \|$", TEXT, re.MULTILINE
    )
    assert {name: (setting, when == "at once") for name, setting, when in described} == dict(GIVEN)


def test_every_setting_of_tokens_is_described() -> None:
    described = re.findall(r"^\| `([a-z-]+)` \| `(JWT_\w+)`", TEXT, re.MULTILINE)
    assert {(name.replace("-", ""), setting) for name, setting in described} == set(_SETTINGS.items())
