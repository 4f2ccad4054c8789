"""What is taken from a registry, what is not, and what is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.discovery.eureka.messages import (
    MAX_COMMAS,
    MAX_INSTANCES,
    MAX_LISTS,
    MAX_NAMES,
    BadRegistry,
    Instance,
    InstanceInfo,
    Pages,
    parse_listing,
    registration,
)
from gateway.proxy.upstream import UpstreamBase
from tests.support.eureka import entry, listing


def parsed(**changes: Any) -> Instance:
    """The only instance of a listing with these members."""
    (instance,) = parse_listing(listing(entry("a", **changes))).instances
    return instance


def test_an_instance_is_read() -> None:
    base = UpstreamBase("http", "a.internal", 8080)
    assert parsed() == Instance(("ORDERS", "a"), ("orders",), "UP", base, gone=False)


def test_the_hash_is_the_servers() -> None:
    found = parse_listing(listing(entry("a"), entry("b", status="DOWN")))
    assert found.hash == "DOWN_1_UP_1_"
    assert len(found.instances) == 2


def test_a_byte_order_mark_before_the_document_is_no_part_of_it() -> None:
    document = listing(entry("a"))
    assert parse_listing(b"\xef\xbb\xbf" + document) == parse_listing(document)


def test_an_empty_registry_is_one() -> None:
    assert parse_listing(listing()) == ((), "")


OFF = {"$": 443, "@enabled": "false"}
ADDRESSES: list[tuple[dict[str, Any], str | None]] = [
    ({}, "http://a.internal:8080"),
    ({"hostName": "10.1.2.3"}, "http://10.1.2.3:8080"),
    ({"hostName": "Orders_1.Internal"}, "http://orders_1.internal:8080"),
    ({"hostName": "2001:db8::1"}, "http://[2001:db8::1]:8080"),
    ({"hostName": "[2001:db8::1]"}, "http://[2001:db8::1]:8080"),
    ({"hostName": ""}, "http://10.0.0.1:8080"),
    ({"hostName": None}, "http://10.0.0.1:8080"),
    ({"hostName": "a b"}, "http://10.0.0.1:8080"),
    ({"hostName": "a.internal/admin?x=", "ipAddr": ""}, None),
    ({"hostName": "user@evil", "ipAddr": "a\r\nHost: b"}, None),
    ({"hostName": "fe80::1%eth0", "ipAddr": "-x"}, None),
    ({"hostName": "a" * 300, "ipAddr": 7}, None),
    ({"hostName": "höst", "ipAddr": "a:80"}, None),
    ({"port": {"$": "9000", "@enabled": True}}, "http://a.internal:9000"),
    ({"port": {"$": 9000, "@enabled": "false"}}, "http://a.internal:9000"),  # as Spring's client has it
    ({"port": {"$": 9000, "@enabled": "false"}, "securePort": OFF}, "http://a.internal:9000"),
    ({"port": {"$": 0, "@enabled": "true"}}, None),
    ({"port": {"$": 65536, "@enabled": "true"}}, None),
    ({"port": {"$": -1, "@enabled": "true"}}, None),
    ({"port": {"$": "80 ", "@enabled": "true"}}, None),
    ({"port": {"$": True, "@enabled": "true"}}, None),
    ({"port": 8080}, None),
    ({"port": None}, None),
    ({"port": OFF, "securePort": {"$": 8443, "@enabled": "true"}}, "https://a.internal:8443"),
    ({"securePort": {"$": 8443, "@enabled": "true"}}, "https://a.internal:8443"),
    ({"securePort": {"$": 443, "@enabled": True}}, "https://a.internal"),
    ({"hostName": "x" * 64, "ipAddr": "10.0.0.9"}, "http://10.0.0.9:8080"),
    ({"hostName": "a..b", "ipAddr": "10.0.0.9"}, "http://10.0.0.9:8080"),
    ({"securePort": {"$": 8443, "@enabled": "false"}}, "http://a.internal:8080"),
    ({"securePort": {"$": 8443}}, "http://a.internal:8080"),
    ({"securePort": {"$": 0, "@enabled": "true"}}, "http://a.internal:8080"),
    ({"securePort": {"$": "x", "@enabled": "true"}}, "http://a.internal:8080"),
]


@pytest.mark.parametrize(("changes", "address"), ADDRESSES)
def test_an_address_is_a_host_and_a_port_or_nothing(changes: dict[str, Any], address: str | None) -> None:
    base = parsed(**changes).base
    assert (None if base is None else str(base)) == address


@pytest.mark.parametrize(
    ("vip", "names"),
    [
        ("orders", ("orders",)),
        ("Orders-V2", ("orders-v2",)),
        ("orders,orders-v2, ORDERS", ("orders", "orders-v2")),
        ("", ("orders",)),
        (None, ("orders",)),
        ("../x", ("orders",)),
        (",".join(f"s{at}" for at in range(100_000)), tuple(f"s{at}" for at in range(MAX_NAMES))),
    ],
)
def test_a_service_goes_by_its_virtual_addresses_else_by_its_name(vip: Any, names: tuple[str, ...]) -> None:
    assert parsed(vipAddress=vip).names == names


@pytest.mark.parametrize(
    ("status", "read"),
    [("UP", "UP"), ("OUT_OF_SERVICE", "OUT_OF_SERVICE"), (None, "UNKNOWN"), ("a b", "UNKNOWN")],
)
def test_a_status_is_one_of_eurekas_or_unknown(status: Any, read: str) -> None:
    assert parsed(status=status).status == read


def test_without_an_id_the_host_name_is_it() -> None:
    assert parsed(instanceId=None).key == ("ORDERS", "a.internal")


def test_what_a_delta_deletes_is_gone() -> None:
    assert parsed(actionType="DELETED").gone


def test_what_older_servers_write_for_lists_of_one_is_read() -> None:
    application = {"name": "ORDERS", "instance": entry("a")}
    document = {"applications": {"apps__hashcode": "UP_1_", "application": application}}
    assert len(parse_listing(json.dumps(document).encode()).instances) == 1


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<applications/>",
        b"[]",
        b"{}",
        b'{"applications": []}',
        b'{"applications": {"application": []}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_registry_is_refused(document: bytes) -> None:
    with pytest.raises(BadRegistry):
        parse_listing(document)


def test_a_registry_without_end_is_refused() -> None:
    entries = [{"instanceId": str(at)} for at in range(MAX_INSTANCES + 1)]
    applications = {"apps__hashcode": "", "application": {"name": "A", "instance": entries}}
    with pytest.raises(BadRegistry, match="instances"):
        parse_listing(json.dumps({"applications": applications}).encode())


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        (b"[],\n" * (MAX_LISTS - 2), False),
        (b"[],\n" * (MAX_LISTS - 1), True),
        (b"1,\n" * (MAX_COMMAS + 1), True),
    ],
)
def test_a_registry_of_other_values_without_end_is_refused(values: bytes, refused: bool) -> None:
    document = b'{"applications":{"apps__hashcode":"UP_0_","application":[' + values + b"[]]}}"
    if not refused:
        assert parse_listing(document).instances == ()
        return
    with pytest.raises(BadRegistry, match="values"):
        parse_listing(document)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(entry("a"), ANYTHING)))
def test_no_entry_breaks_the_others_or_makes_an_odd_address(changes: dict[str, Any]) -> None:
    application = {"name": "ORDERS", "instance": [changes, entry("good")]}
    document = {"applications": {"apps__hashcode": "", "application": [application, 7, None]}}
    *others, good = parse_listing(json.dumps(document).encode()).instances
    assert good.key == ("ORDERS", "good")
    for other in others:
        if other.base is not None:
            assert UpstreamBase.parse(str(other.base)) == other.base


OWN = InstanceInfo("gateway-server", "gw.internal", "10.0.0.9", 8080, 9090, {"team": "tickets"}, 30)


def test_a_registration_says_where_everything_is() -> None:
    said = json.loads(registration(OWN, "UP", 1234))["instance"]
    assert said["instanceId"] == "gw.internal:gateway-server:8080"
    assert (said["app"], said["vipAddress"]) == ("GATEWAY-SERVER", "gateway-server")
    assert (said["hostName"], said["ipAddr"], said["status"]) == ("gw.internal", "10.0.0.9", "UP")
    assert said["homePageUrl"] == "http://gw.internal:8080/"
    assert said["healthCheckUrl"] == "http://gw.internal:9090/actuator/health"
    assert said["statusPageUrl"] == "http://gw.internal:9090/actuator/info"
    assert said["leaseInfo"] == {"renewalIntervalInSecs": 30, "durationInSecs": 90}
    assert said["metadata"] == {"management.port": "9090", "team": "tickets"}
    assert said["lastDirtyTimestamp"] == "1234"


def test_a_registration_says_what_springs_settings_say() -> None:
    pages = Pages("/start", "/status", "https://gw.example.com/health")
    changed = OWN._replace(
        expiry=15, instance_id="a:1", plain=False, secure=True, secure_port=8443, pages=pages
    )
    said = json.loads(registration(changed, "UP", 1))["instance"]
    assert said["instanceId"] == "a:1"
    assert said["port"] == {"$": 8080, "@enabled": "false"}
    assert said["securePort"] == {"$": 8443, "@enabled": "true"}
    assert said["homePageUrl"] == "http://gw.internal:8080/start"
    assert said["statusPageUrl"] == "http://gw.internal:9090/status"
    assert said["healthCheckUrl"] == "https://gw.example.com/health"
    assert said["leaseInfo"] == {"renewalIntervalInSecs": 30, "durationInSecs": 15}


def test_a_registration_is_what_others_can_read() -> None:
    said = json.loads(registration(OWN._replace(host="2001:db8::9"), "UP", 1))["instance"]
    (found,) = parse_listing(listing(said | {"actionType": "ADDED"})).instances
    assert (found.base, found.names) == (UpstreamBase("http", "2001:db8::9", 8080), ("gateway-server",))
    assert said["homePageUrl"] == "http://[2001:db8::9]:8080/"
