"""The gateway's OpenAPI document is held against the endpoints, the errors and itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import __version__
from gateway.api.envelope import STATUS_OF
from gateway.api.openapi import document_for, kept, written
from gateway.api.refresh import SIGNATURE
from gateway.api.rooms import MAX_CAPACITY, MAX_SECONDS, MIN_SECONDS
from gateway.app import management_endpoints, public_endpoints
from gateway.errors import GatewayError
from gateway.observability.tracing import TRACE_ID
from gateway.pages.swagger_files import DISTRIBUTION, OWN
from gateway.settings.model import Settings
from tests.support.config_server import config_server, routes
from tests.support.gateway import Gateways

SETTINGS = Settings.from_env({})
# Calls of another proxy are none of a client: docs/how-to/forward-auth.md describes them.
PUBLIC = [endpoint for endpoint in public_endpoints(SETTINGS) if endpoint.label != "queue.authorize"]
ENDPOINTS = [*PUBLIC, *management_endpoints(SETTINGS)]
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): item[method]
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    }


def references(value: object) -> set[str]:
    """Everything that is referred to."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_own_call_is_described_and_nothing_else() -> None:
    assert set(operations(kept())) == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_each_call_asks_for_what_the_code_asks_for(endpoint: Any) -> None:
    operation = operations(kept())[endpoint.method, endpoint.path]
    schemes = {name for each in operation["security"] for name in each}
    if endpoint.auth == "token":
        assert "token" in schemes
    elif endpoint.path == "/actuator/refresh/webhook":
        # What it needs, it looks for itself.
        assert operation["security"] == [{"webhook": []}]
    elif endpoint.auth == "management":
        assert operation["security"] == [{"management": []}]
    else:
        assert operation["security"] in ([], [{}, {"management": []}])
    assert ("401" in operation["responses"]) == bool(schemes)
    named = set(re.findall(r"{(\w+)}", endpoint.path))
    parameters = kept()["paths"][endpoint.path].get("parameters", []) + operation.get("parameters", [])
    assert {each["name"] for each in parameters if each.get("in") == "path"} == named


def test_each_call_has_a_name_of_its_own_and_a_known_tag() -> None:
    found = operations(kept()).values()
    assert len({operation["operationId"] for operation in found}) == len(found)
    assert {tag for operation in found for tag in operation["tags"]} == {
        tag["name"] for tag in kept()["tags"]
    }


def test_whatever_is_referred_to_is_there_and_what_is_there_is_used() -> None:
    document = kept()
    found = references(document)
    there = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        for name in named
        if kind != "securitySchemes"
    }
    assert found <= there
    # What the gate answers for services is for people to look up.
    assert there - found == {"#/components/schemas/QueueWaiting", "#/components/schemas/NotAdmitted"}
    used = {
        name for operation in operations(document).values() for each in operation["security"] for name in each
    }
    assert used == set(document["components"]["securitySchemes"])


def test_the_codes_are_those_of_the_errors() -> None:
    codes = kept()["components"]["schemas"]["Code"]["enum"]
    assert sorted(codes) == sorted({error.code for error in STATUS_OF} | {GatewayError.code})


def test_every_answer_has_the_traces_id() -> None:
    document = document_for(actuator=True, cookie="session")
    named = document["components"]["responses"]
    answers = [
        (where, status, named[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer)
        for where, operation in operations(document).items()
        for status, answer in operation["responses"].items()
    ]
    assert len(answers) > 100
    lacking = [(where, status) for where, status, answer in answers if TRACE_ID not in answer["headers"]]
    assert not lacking


def test_the_signature_is_where_the_code_looks_for_it() -> None:
    assert kept()["components"]["securitySchemes"]["webhook"]["name"] == SIGNATURE


async def test_health_with_all_its_components_is_as_described(gateways: Gateways, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    operators = tmp_path / "operators.yaml"
    operators.write_text("operators: []")
    async with config_server() as server:
        server.say(routes("a"))
        gateway = await gateways.start(
            spring_config_import=f"configserver:{server.url}",
            operators_file=operators,
            # Nobody is there, and it is a component all the same.
            eureka_client_serviceurl_defaultzone="http://127.0.0.1:1/eureka/",
        )
        health = (await gateway.nobody("GET", "/actuator/health")).json
    document = kept()
    schemas = document["components"]["schemas"]
    jsonschema.Draft202012Validator({**document, "$ref": "#/components/schemas/Health"}).validate(health)
    described = set(schemas["Health"]["properties"]["components"]["properties"])
    assert set(health["components"]) == described
    (parameter,) = operations(document)["GET", "/actuator/health/{component}"]["parameters"]
    assert set(parameter["schema"]["enum"]) == described


def test_the_version_is_the_gateways() -> None:
    assert kept()["info"]["version"] == __version__


def test_limits_are_those_of_the_code() -> None:
    change = kept()["components"]["schemas"]["RoomChange"]["properties"]
    assert change["capacity"]["maximum"] == MAX_CAPACITY
    assert (change["durationSeconds"]["minimum"], change["durationSeconds"]["maximum"]) == (
        MIN_SECONDS,
        MAX_SECONDS,
    )


def test_the_files_are_those_of_the_code() -> None:
    (parameter,) = operations(kept())["GET", "/swagger-ui/{file}"]["parameters"]
    assert sorted(parameter["schema"]["enum"]) == sorted([*OWN, *DISTRIBUTION])


def test_json_and_yaml_say_the_same() -> None:
    as_json, as_yaml = written(actuator=True, cookie="session")
    assert json.loads(as_json.body) == yaml.safe_load(as_yaml.body)
    assert b"&id" not in as_yaml.body


def test_the_cookie_is_described_if_there_is_one() -> None:
    document = document_for(actuator=True, cookie="session")
    assert document["components"]["securitySchemes"]["cookie"]["name"] == "session"
    assert {"cookie": []} in operations(document)["GET", "/api/v1/queue/status"]["security"]


def test_without_a_cookie_none_is_described() -> None:
    document = document_for(actuator=True, cookie=None)
    assert "cookie" not in document["components"]["securitySchemes"]
    assert all({"cookie": []} not in each["security"] for each in operations(document).values())


def test_without_the_actuator_here_it_is_not_described() -> None:
    document = document_for(actuator=False, cookie=None)
    own = {endpoint.path for endpoint in PUBLIC}
    assert set(document["paths"]) == own
    assert {tag["name"] for tag in document["tags"]} == {"Queue", "Stream", "Pages", "Docs"}
    assert set(document["components"]["securitySchemes"]) == {"token", "streamToken", "visitor"}
