"""The table of Spring's names beside the settings and the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.settings.model import TABLE, Settings, check
from gateway.settings.spring.known import NAMESPACES, known
from gateway.settings.spring.names import SpringName
from gateway.settings.spring.table import CONVERSIONS, DEFAULTS, NAMES, other_names
from gateway.settings.warnings import warnings_of_names

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "spring-names.md"


def documented(one: SpringName) -> str:
    """The line of docs/reference/spring-names.md for one property."""
    more = "*" if one.family else ""
    several = " A list." if one.many else ""
    return f"| `{one.canonical}` | `{one.variable}{more}` | `{one.setting}` | {one.meaning}{several} |"


def test_the_docs_list_every_name_and_no_other() -> None:
    lines = PAGE.read_text(encoding="utf-8").partition("## The table")[2].partition("\n## ")[0].splitlines()
    assert [line for line in lines if line.startswith("| `")] == [documented(one) for one in NAMES.table]


def test_each_property_is_there_once_and_for_a_setting_that_there_is() -> None:
    names = [one.canonical for one in NAMES.table]
    assert len(names) == len(set(names))
    assert {one.setting for one in NAMES.table} <= {row.name for row in TABLE}


def test_every_variable_of_springs_that_a_setting_is_read_from_is_in_the_table() -> None:
    variables = {one.variable for one in NAMES.table}
    read = {name for row in TABLE for name in (row.name, *row.older) if name.partition("_")[0] in NAMESPACES}
    own = {
        *("EUREKA_REGISTER", "EUREKA_FETCH", "SERVER_HOST", "SERVER_FORWARD_HEADERS_STRATEGY"),
        *("MANAGEMENT_READS", "MANAGEMENT_TOKEN", "EUREKA_INSTANCE_METADATAMAP"),
        # The gateway's own names are those of Spring's properties.
        *("SERVER_SSL_CERTIFICATE", "SERVER_SSL_CERTIFICATE_PRIVATE_KEY"),
        # A property of the family ``eureka.client.service-url.*``.
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE",
    }
    assert read - variables == own


def test_every_variable_that_the_code_asks_for_is_in_the_table() -> None:
    """So that its other forms are found as well."""
    text = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "gateway" / "settings").glob("*.py"))
    asked = set(re.findall(r"\"((?:SPRING|EUREKA|MANAGEMENT|SERVER|LOGGING)_[A-Z0-9_]+)\"", text))
    in_table = [one.variable for one in NAMES.table] + [row.name for row in TABLE]
    assert asked
    assert {name for name in asked if not any(each.startswith(name) for each in in_table)} == set()


def test_the_first_property_that_is_set_counts() -> None:
    assert other_names("ZIPKIN_ENDPOINT") == (
        "MANAGEMENT_TRACING_EXPORT_ZIPKIN_ENDPOINT",
        "MANAGEMENT_ZIPKIN_TRACING_ENDPOINT",
    )
    environ = {name: f"http://{at}/" for at, name in enumerate(other_names("ZIPKIN_ENDPOINT"))}
    assert Settings.from_env(environ).zipkin_endpoint == "http://0/"


def test_what_placeholders_stand_for_by_default_is_the_default() -> None:
    settings = Settings()
    assert {
        "server.port": str(settings.server_port),
        "spring.application.name": settings.spring_application_name,
    } == DEFAULTS


def test_what_means_something_is_not_among_what_means_nothing() -> None:
    found = {one.canonical: known(one.variable) for one in NAMES.table if not one.family}
    assert {name for name, one in found.items() if one is not None and one.whole} == set()


@pytest.mark.parametrize("variable", sorted(CONVERSIONS))
def test_what_spring_would_not_read_is_refused_under_its_name(variable: str) -> None:
    (error,) = check({variable: "hardly"})
    assert (error.variable, error.value) == (variable, "hardly")


def test_the_messages_that_the_docs_quote_are_given() -> None:
    quoted = re.findall(r"`((\w+) is (?:not )?a setting[^`]*)`", PAGE.read_text(encoding="utf-8"))
    assert len(quoted) == 2
    for message, name in quoted:
        (warning,) = warnings_of_names({name: "x"})
        assert warning.startswith(message.removesuffix("…"))
