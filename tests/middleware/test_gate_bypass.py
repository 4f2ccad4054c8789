"""Callers who pass the gate without a place, over real HTTP, on the fast path and through the application."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from gateway.context import OBSERVERS, REFRESH, ROOMS
from tests.support.gateway import Gateways, Running

ROUTES = """
routes:
  - {id: all, uri: "%%(service)s", predicates: ["Path=/shop/**"], filters: [StripPrefix=1]}
  - {id: open, uri: "%%(service)s", predicates: ["Path=/open/**"], filters: [StripPrefix=1]}
gates:
  - {calls: [POST /buy], renews: [GET /look]}
  - {room: vip, calls: [POST /vip]}
access:
  public: [/open/**]
rooms:
  default:
    bypass:
      - {name: staff, claim: role, values: [staff]}
      - {name: %s, networks: [%s]}
"""
WITHOUT_NETWORK = ROUTES % ("probes", "192.0.2.0/24")
WITH_NETWORK = ROUTES % ("local", "127.0.0.0/8")

fast_path = pytest.mark.parametrize("fast_path", [True, False])


def bypassed(gateway: Running) -> dict[str, float]:
    """How many calls passed without a place, by the rule of room default."""
    families = gateway.app[OBSERVERS].metrics.registry.collect()
    samples = (sample for family in families for sample in family.samples)
    return {
        sample.labels["name"]: sample.value
        for sample in samples
        if sample.name == "gateway_room_bypassed_total" and sample.labels["room"] == "default"
    }


@fast_path
async def test_a_claim_lets_the_caller_pass_without_a_place(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(WITHOUT_NETWORK, fast_path=fast_path)
    staff, guest = gateway.user("anna", role=["guest", "staff"]), gateway.user("bob", role="guest")
    for number in range(1, 3):
        assert (await staff("POST", "/shop/buy")).status == 200
        assert bypassed(gateway) == {"staff": number}
    assert gateways.service.seen[-1]["headers"]
    refused = await guest("POST", "/shop/buy")
    assert (refused.status, refused.code) == (403, "NOT_IN_QUEUE")
    # Another room has its own rules.
    refused = await staff("POST", "/shop/vip")
    assert (refused.status, refused.code) == (403, "NOT_IN_QUEUE")
    # Calls that renew only are no passing of the gate.
    assert (await staff("GET", "/shop/look")).status == 200
    assert bypassed(gateway) == {"staff": 2}
    overview = await gateway.app[ROOMS]["default"].overview()
    assert (overview.waiting, overview.allowed_in) == (0, 0)


@fast_path
async def test_a_network_lets_pass_but_replaces_no_token(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(WITH_NETWORK, fast_path=fast_path)
    assert (await gateway.user("bob")("POST", "/shop/buy")).status == 200
    refused = await gateway.nobody("POST", "/shop/buy")
    assert (refused.status, refused.code) == (401, "TOKEN_REQUIRED")
    # The access rules ask for no token here, and the gate alone would.
    assert (await gateway.nobody("POST", "/open/buy")).status == 200
    assert (await gateway.with_token("wrong")("POST", "/open/buy")).status == 200
    assert bypassed(gateway) == {"local": 3}


@fast_path
async def test_headers_of_a_client_let_nobody_pass(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(WITHOUT_NETWORK, fast_path=fast_path)
    headers = {
        "X-Forwarded-For": "192.0.2.7",
        "Forwarded": "for=192.0.2.7",
        "X-Real-IP": "192.0.2.7",
        "X-User-Type": "staff",
        "role": "staff",
    }
    refused = await gateway.user("bob")("POST", "/shop/buy", headers=headers)
    assert (refused.status, refused.code) == (403, "NOT_IN_QUEUE")
    refused = await gateway.nobody("POST", "/open/buy", headers=headers)
    assert (refused.status, refused.code) == (401, "TOKEN_REQUIRED")
    forged = gateways.issuer.token("bob", role="staff")[:-4] + "AAAA"
    refused = await gateway.with_token(forged)("POST", "/shop/buy")
    assert (refused.status, refused.code) == (401, "TOKEN_INVALID")


@fast_path
async def test_the_address_counts_as_far_as_trusted_proxies_vouch_for_it(
    gateways: Gateways, fast_path: bool
) -> None:
    gateway = await gateways.start(WITHOUT_NETWORK, fast_path=fast_path, trusted_proxies="127.0.0.0/8")
    user = gateway.user("bob")
    for chain, status in {
        "192.0.2.7": 200,
        "192.0.2.7, 203.0.113.9": 403,
        "203.0.113.9, 192.0.2.7": 200,
        "unknown": 403,
        "": 403,
    }.items():
        answer = await user("POST", "/shop/buy", headers={"X-Forwarded-For": chain})
        assert answer.status == status, chain


@fast_path
async def test_rules_change_with_the_file(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(WITHOUT_NETWORK, fast_path=fast_path)
    user = gateway.user("anna", role="press")
    assert (await user("POST", "/shop/buy")).status == 403
    text = gateway.routes_file.read_text()
    gateway.routes_file.write_text(text.replace("values: [staff]", "values: [press]"))
    await gateway.app[REFRESH].refresh()
    assert (await user("POST", "/shop/buy")).status == 200
    assert (await gateway.user("carl", role="staff")("POST", "/shop/buy")).status == 403
    assert b'gateway_room_bypassed_total{name="staff",room="default"} 1.0' in generate_latest(
        gateway.app[OBSERVERS].metrics.registry
    )
