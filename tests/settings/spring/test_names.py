"""Spellings of a property, held against what Spring Boot itself made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.spring.environ import SpringEnviron
from gateway.settings.spring.names import as_variable
from gateway.settings.spring.table import NAMES

RECORDED = Path(__file__).with_name("forms.tsv")
"""What ``Binder`` of Spring Boot 4.0.9 found, one line each: property, how it was bound, variables, outcome.
``null`` is nothing, ``ERROR`` stops the start."""

# Where the gateway decides otherwise, and why.
DIFFERENT = {
    # An empty variable counts as unset, since compose files set many of them so.
    "EUREKA_INSTANCE_PREFERIPADDRESS= EUREKA_INSTANCE_PREFER_IP_ADDRESS=legacy": "legacy",
    'SPRING_APPLICATION_JSON={"server":{"port":""}} SERVER_PORT=8080': "8080",
    # Spring finds these once another source names the key, as the file inside of the older system does.
    "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE=x": "{DEFAULTZONE=x}",
    "EUREKA_INSTANCE_METADATA_MAP_CONFIGPATH=x": "{CONFIGPATH=x}",
    # Keys of zones are compared as variables; those of metadata get their form where they are read.
    "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE=x": "{DEFAULTZONE=x}",
    "eureka.client.service-url.defaultZone=x": "{DEFAULTZONE=x}",
    "eureka.client.serviceUrl.defaultZone=x": "{DEFAULTZONE=x}",
    "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE=legacy EUREKA_CLIENT_SERVICEURL_DEFAULTZONE=canonical": (
        "{DEFAULTZONE=canonical}"
    ),
    "EUREKA_CLIENT_SERVICEURL_SEOUL_A=x": "{SEOUL_A=x}",
    "EUREKA_INSTANCE_METADATAMAP_CONFIGPATH=x": "{CONFIGPATH=x}",
    "EUREKA_INSTANCE_METADATAMAP_MANAGEMENT_PORT=x": "{MANAGEMENT_PORT=x}",
    "SPRING_CLOUD_CONFIG_HEADERS_XTENANT=x SPRING_CLOUD_CONFIG_HEADERS_X_TENANT=y": "{XTENANT=x, X_TENANT=y}",
    # A bare name in the JSON is a variable, as for the placeholders of the older system's own file.
    'SPRING_APPLICATION_JSON={"SERVER_PORT":9000}': "9000",
    # Numbers stay as they are written.
    'SPRING_APPLICATION_JSON={"server.port":9000.50} SERVER_PORT=8080': "9000.50",
}

LINES = [line.split("\t") for line in RECORDED.read_text(encoding="utf-8").splitlines()]
CASES = [(line[0], line[1], line[2:-2], line[-1]) for line in LINES]


def found(canonical: str, how: str, variables: list[str]) -> str:
    """What the gateway finds, in the words of the record."""
    environ = SpringEnviron(dict(variable.split("=", 1) for variable in variables))
    if environ.faults:
        return "ERROR"
    variable = as_variable(canonical)
    if how == "map":
        keys = {
            name.removeprefix(f"{variable}_"): text
            for name, text in environ.items()
            if name.startswith(f"{variable}_")
        }
        return f"{{{', '.join(f'{key}={keys[key]}' for key in sorted(keys))}}}" if keys else "null"
    text = environ.get(variable)
    if text is None:
        return "null"
    return f"[{', '.join(text.split(','))}]" if how == "list" else text


@pytest.mark.parametrize(
    ("canonical", "how", "variables", "outcome"), CASES, ids=[" ".join(c[2]) for c in CASES]
)
def test_what_spring_boot_finds_is_found(
    canonical: str, how: str, variables: list[str], outcome: str
) -> None:
    expected = DIFFERENT.get(
        " ".join(variables), outcome.partition(" ")[0] if "ERROR" in outcome else outcome
    )
    assert found(canonical, how, variables) == expected


def test_every_difference_is_one() -> None:
    recorded = {" ".join(variables): outcome for _, _, variables, outcome in CASES}
    assert all(recorded[name] != outcome for name, outcome in DIFFERENT.items())


@pytest.mark.parametrize("one", [one for one in NAMES.table if not one.family], ids=lambda one: one.canonical)
def test_every_property_of_the_table_is_found_in_each_of_its_forms(one: object) -> None:
    name = next(each for each in NAMES.table if each is one)
    camel = "".join(part.capitalize() if at else part for at, part in enumerate(name.canonical.split("-")))
    for form in (name.variable, name.legacy, name.variable.lower(), name.canonical, camel):
        assert SpringEnviron({form: "text"})[name.variable] == "text", form


@given(st.text(max_size=60))
def test_any_name_is_matched_or_not(name: str) -> None:
    match = NAMES.match(name)
    assert match is None or match.variable.startswith(match.name.variable)
