"""What services and the metadata of routes say about TLS: each fault is told with its key and its reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.routing.discovered_routes import with_discovered_routes
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import parse
from gateway.routing.table import RouteTable
from tests.support.authority import Authority

OURS = Authority("ours")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``authority.crt``; ``one`` and ``two``, certificates with their keys; ``garbage``; ``empty``, a folder."""
    OURS.write(tmp_path)
    for name in ("one", "two"):
        OURS.issue(name).write(tmp_path, name)
    (tmp_path / "garbage").write_text("garbage")
    (tmp_path / "empty").mkdir()
    return tmp_path


def parsed(folder: Path, metadata: str, uri: str = "https://shop") -> RouteTable:
    text = f"routes: [{{id: a, uri: '{uri}', predicates: [Path=/**], metadata: {{{metadata}}}}}]\n"
    return parse(text.encode(), str(folder / "routes.yaml"), {})


PAIR = "tls-ca: authority.crt, tls-certificate: one.crt, tls-private-key: one.key"


def test_files_are_found_from_the_folder_of_the_route_file_on(folder: Path) -> None:
    [route] = parsed(folder, f"{PAIR}, tls-server-name: shop.internal").routes
    assert route.tls is not None
    assert route.tls.server_name == "shop.internal"
    assert [file.name for file in route.tls.files] == ["authority.crt", "one.crt", "one.key"]
    absolute = ", ".join(
        f"{key}: {folder / name}" for key, name in (each.split(": ") for each in PAIR.split(", "))
    )
    assert parsed(folder, f"{absolute}, tls-server-name: shop.internal").routes[0].tls == route.tls


def test_tls_is_the_same_where_content_and_name_are(folder: Path) -> None:
    table = parsed(folder, PAIR)
    tls = table.routes[0].tls
    assert tls == parsed(folder, PAIR, "lb://shop").routes[0].tls
    assert tls != parsed(folder, f"{PAIR}, tls-server-name: a").routes[0].tls
    assert tls != parsed(folder, "tls-ca: authority.crt").routes[0].tls
    assert tls != parsed(folder, PAIR.replace("one", "two")).routes[0].tls
    assert parsed(folder, "").routes[0].tls is None
    assert parsed(folder, "tls-ca: null").routes[0].tls is None
    assert [file.name for file in table.files] == ["authority.crt", "one.crt", "one.key"]
    OURS.issue("one").write(folder, "one")
    assert tls != parsed(folder, PAIR).routes[0].tls


FAULTS: list[tuple[str, str, str]] = [
    ("tls-ca: none.crt", "https://shop", r"tls-ca 'none.crt': can't be read: there is no such file"),
    ("tls-ca: empty", "https://shop", r"tls-ca 'empty': can't be read: it is no regular file"),
    ("tls-ca: garbage", "https://shop", r"tls-ca 'garbage': "),
    ("tls-ca: 5", "https://shop", r"tls-ca must be the path of a file, .* not 5"),
    ("tls-ca: [a]", "https://shop", r"tls-ca must be the path of a file"),
    ("tls-certificate: one.crt", "https://shop", r"tls-certificate 'one.crt': "),
    ("tls-certificate: garbage", "https://shop", r"tls-certificate 'garbage': "),
    ("tls-private-key: one.key", "https://shop", r"tls-private-key needs tls-certificate"),
    (
        "tls-certificate: one.crt, tls-private-key: two.key",
        "https://shop",
        r"tls-certificate 'one.crt': key values mismatch",
    ),
    (
        "tls-certificate: one.crt, tls-private-key: none.key",
        "https://shop",
        r"tls-private-key 'none.key': can't be read",
    ),
    ("tls-server-name: 'a b'", "https://shop", r"tls-server-name must be a host name"),
    ("tls-ca: authority.crt", "http://shop", r"http://shop.* is called without TLS"),
]


@pytest.mark.parametrize(("metadata", "uri", "told"), FAULTS)
def test_what_can_t_be_used_is_a_fault_of_its_route(folder: Path, metadata: str, uri: str, told: str) -> None:
    with pytest.raises(RouteFileError) as error:
        parsed(folder, metadata, uri)
    [issue] = error.value.issues
    assert (issue.rule, issue.route_id, issue.line) == ("tls", "a", 1)
    assert re.match(told, issue.message)


def test_a_misspelt_key_is_warned_of(folder: Path) -> None:
    [warning] = parsed(folder, "tls-certificat: one.crt").warnings
    assert "tls-certificate" in warning.message


def with_service(
    folder: Path, keys: str, *metadata: str, instance: str = "https://127.0.0.1:1"
) -> RouteTable:
    """A table with a service and a route to it with each of these metadata; its keys begin in line 4."""
    lines = "".join(f"\n    {key}" for key in keys.split("; "))
    routes = "".join(
        f"\n  - {{id: r{number}, uri: lb://Shop, predicates: [Path=/**], metadata: {{{each}}}}}"
        for number, each in enumerate(metadata)
    )
    text = f"services:\n  shop:\n    instances: ['{instance}']{lines}\nroutes:{routes or ' []'}\n"
    return parse(text.encode(), str(folder / "routes.yaml"), {"NAME": "shop.internal"})


OF_SERVICE = PAIR.replace(", ", "; ") + "; tls-server-name: ${NAME}"


def test_a_route_has_the_keys_of_its_service_and_its_own_win(folder: Path) -> None:
    table = with_service(
        folder,
        OF_SERVICE,
        "",
        "tls-server-name: other.internal",
        "tls-certificate: two.crt, tls-private-key: two.key",
        "tls-ca: null",
    )
    own, renamed, other, null = (route.tls for route in table.routes)
    assert table.service_tls == {"shop": own}
    assert own == null == parsed(folder, f"{PAIR}, tls-server-name: shop.internal").routes[0].tls
    assert renamed == parsed(folder, f"{PAIR}, tls-server-name: other.internal").routes[0].tls
    two = PAIR.replace("one", "two")
    assert other == parsed(folder, f"{two}, tls-server-name: shop.internal").routes[0].tls
    named = ["authority.crt", "one.crt", "one.key", "two.crt", "two.key"]
    assert sorted(file.name for file in table.files) == named
    assert [file.name for file in with_service(folder, OF_SERVICE).files] == named[:3]


def test_a_certificate_of_a_route_is_not_used_with_the_private_key_of_its_service(folder: Path) -> None:
    both = folder / "both.pem"
    both.write_bytes((folder / "two.crt").read_bytes() + (folder / "two.key").read_bytes())
    [route] = with_service(folder, OF_SERVICE, "tls-certificate: both.pem").routes
    assert route.tls is not None
    assert [file.name for file in route.tls.files] == ["authority.crt", "both.pem"]


def test_routes_of_the_locator_have_the_keys_of_their_service(folder: Path) -> None:
    text = (
        "routes: []\ndiscovery: {locator: {enabled: true}}\n"
        "services: {shop: {instances: ['https://a:1'], tls-ca: authority.crt}, open: ['https://a:1']}\n"
    )
    table = parse(text.encode(), str(folder / "routes.yaml"), {})
    routes = with_discovered_routes(table, ()).routes
    assert {route.upstream.service: route.tls for route in routes} == {
        "shop": table.service_tls["shop"],
        "open": None,
    }


FAULTS_OF_SERVICES: list[tuple[str, int, str]] = [
    ("slow-start: 1s; tls-ca: none.crt", 5, r"tls-ca 'none.crt': can't be read: there is no such file"),
    ("tls-ca: authority.crt; tls-private-key: one.key", 5, r"tls-private-key needs tls-certificate"),
    (
        "tls-private-key: two.key; tls-certificate: one.crt",
        5,
        r"tls-certificate 'one.crt': key values mismatch",
    ),
    ("slow-start: 1s; tls-server-name: 'a b'", 5, r"tls-server-name must be a host name"),
    ("slow-start: 1s; tls-ca: ${NOWHERE}", 5, r"\$\{NOWHERE\} is not set"),
    ("tls-ca: [a]", 4, r"tls-ca must be the path of a file"),
]


@pytest.mark.parametrize(("keys", "line", "told"), FAULTS_OF_SERVICES)
def test_what_a_service_can_t_use_is_one_fault_in_its_line(
    folder: Path, keys: str, line: int, told: str
) -> None:
    with pytest.raises(RouteFileError) as error:
        with_service(folder, keys, "", "tls-server-name: a")
    [issue] = error.value.issues
    assert (issue.route_id, issue.line) == (None, line)
    assert re.match(rf"services\.shop: {told}", issue.message)


def test_a_misspelt_key_of_a_service_is_a_fault(folder: Path) -> None:
    with pytest.raises(RouteFileError, match="nearest is 'tls-certificate'"):
        with_service(folder, "tls-certificat: one.crt")


def test_keys_of_a_service_without_tls_are_warned_of(folder: Path) -> None:
    keys = "tls-ca: authority.crt"
    [warning] = with_service(folder, keys, "", instance="http://127.0.0.1:1").warnings
    assert (warning.rule, "have no effect" in warning.message) == ("tls", True)
    assert with_service(folder, keys, "").warnings == ()
