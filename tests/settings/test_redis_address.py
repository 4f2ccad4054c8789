"""Redis addresses in all their forms: what they say, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.errors import SettingsError
from gateway.settings.model import Settings
from gateway.settings.redis_address import MAX_NODES, Node, RepeatedParameter, parse_redis_address


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("redis://host", 0),
        ("redis://user:pa%2Fss@host:7000/3", 3),
        ("rediss://host/?ssl_ca_certs=/etc/ca.pem", 0),
        ("redis://host/1?db=2", 2),
        ("unix:///run/redis.sock", 0),
        ("unix:///run/redis.sock?db=4", 4),
    ],
)
def test_one_server_keeps_its_address_as_it_is(text: str, database: int) -> None:
    address = parse_redis_address(text)
    assert (address.form, address.url, address.database) == ("one", text, database)


def test_sentinels_have_a_service_and_passwords_of_their_own() -> None:
    address = parse_redis_address(
        "redis+sentinel://app:p%40ss@one:7001,two,[::1]:7003/tickets/2?sentinel_username=s&sentinel_password=q%2F%40"
    )
    assert (address.form, address.service, address.database) == ("sentinel", "tickets", 2)
    assert address.nodes == (Node("one", 7001), Node("two", 26379), Node("::1", 7003))
    assert address.url_of(Node("::2", 1)) == "redis://app:p%40ss@[::2]:1/2"
    assert address.url_of_guide(address.nodes[0]) == "redis://s:q%2F%40@one:7001"


def test_sentinels_are_not_told_the_password_of_redis() -> None:
    address = parse_redis_address("redis+sentinel://:secret@one/tickets")
    assert address.url_of_guide(address.nodes[0]) == "redis://one:26379"
    assert address.url_of(address.nodes[0]) == "redis://:secret@one:26379/0"


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    address = parse_redis_address("redis+cluster://:pw@one,two:7002,one/0")
    assert (address.form, address.nodes) == ("cluster", (Node("one", 6379), Node("two", 7002)))
    assert address.url_of_guide(address.nodes[1]) == address.url_of(address.nodes[1])
    assert address.url_of(address.nodes[1]) == "redis://:pw@two:7002/0"


@pytest.mark.parametrize("form", ["rediss+sentinel://one/tickets", "rediss+cluster://one"])
def test_tls_and_its_parameters_hold_for_every_connection(form: str) -> None:
    address = parse_redis_address(f"{form}?ssl_ca_certs=/etc/ca.pem")
    for url in (address.url_of(address.nodes[0]), address.url_of_guide(address.nodes[0])):
        assert url.startswith("rediss://one:")
        assert url.endswith("?ssl_ca_certs=%2Fetc%2Fca.pem")


@pytest.mark.parametrize(
    "text",
    [
        "redis",
        "redis:/host",
        "Redis://host",
        "http://host",
        "redis://host/x",
        "redis://a..b",
        "redis://" + "x" * 64,
        "redis+sentinel://one,a..b/tickets",
        "redis+cluster://" + "x" * 64,
        "redis://host?socket_connect_timeout=0",
        "redis://host?socket_connect_timeout=-1",
        "redis://host?socket_connect_timeout=nan",
        "redis://host?socket_connect_timeout=inf",
        "redis://host?socket_connect_timeout=soon",
        "redis+cluster://one?socket_connect_timeout=0",
        "redis://host?socket_read_size=0",
        "redis://host?socket_read_size=-5",
        "redis://host?max_connections=0",
        "redis://host?db=-1",
        "redis://host?client_name=a%20b",
        "redis://host?lib_name=a%0Ab",
        "redis://host:0",
        "redis://host:99999",
        "unix://relative",
        "redis+sentinel://one",
        "redis+sentinel://one/",
        "redis+sentinel:///tickets",
        "redis+sentinel://one/tick ets",
        "redis+sentinel://one/tickets/x",
        "redis+sentinel://one/tickets/0/1",
        "redis+sentinel://one/tickets?db=1",
        "redis+sentinel://one/tickets?nonsense",
        "redis+sentinel://one/tickets#part",
        "redis+sentinel://one,/tickets",
        "redis+sentinel://one:0/tickets",
        "redis+sentinel://one:65536/tickets",
        "redis+sentinel://" + ",".join(f"h{number}" for number in range(MAX_NODES + 1)) + "/tickets",
        "redis+cluster://",
        "redis+cluster://one/1",
        "redis+cluster://one/0/",
        "redis+cluster://one;two",
        "redis+other://one",
        "unix+cluster:///run/redis.sock",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_redis_address(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("redis://host?db=1&db=2", "db"),
        ("redis://host?db=1&db=1", "db"),
        ("redis://host?db=1&d%62=2", "db"),
        ("redis://host?db=&db=2", "db"),
        ("unix:///run/redis.sock?password=secret&db=1&password=", "password"),
        ("rediss://host?ssl_cert_reqs=required&ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("redis+cluster://one?username=a&username=b", "username"),
        ("redis+sentinel://one/tickets?sentinel_password=secret&sentinel_password=b", "sentinel_password"),
    ],
)
def test_a_parameter_stands_once(text: str, name: str) -> None:
    with pytest.raises(RepeatedParameter) as failure:
        parse_redis_address(text)
    assert failure.value.allowed == f"an address with its parameter {name} only once"
    for variable in ("REDIS_URL", "SPRING_DATA_REDIS_URL", "spring.data.redis.url"):
        with pytest.raises(SettingsError, match=f"its parameter {name} only once") as refused:
            Settings.from_env({variable: text})
        assert "secret" not in str(refused.value)


def test_a_repeated_name_that_is_no_parameter_is_not_shown() -> None:
    for text in ("redis://:p?secret=1&secret=2", "redis+cluster://one?secret=1&secret=2"):
        with pytest.raises(SettingsError) as refused:
            Settings.from_env({"REDIS_URL": text})
        assert "secret" not in str(refused.value)


def test_an_address_shows_nothing_of_itself() -> None:
    assert "secret" not in repr(parse_redis_address("redis+sentinel://:secret@one/tickets"))


def test_every_address_in_the_docs_is_one() -> None:
    text = "".join(page.read_text() for page in (Path(__file__).parents[2] / "docs").rglob("*.md"))
    found = re.findall(r"REDIS_URL='?(\w+\+?\w*://[^\s'`…]+)['\s`]", text)
    assert {parse_redis_address(address).form for address in found} == {"one", "sentinel", "cluster"}
