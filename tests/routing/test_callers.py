"""Which callers a room treats otherwise."""

from __future__ import annotations

import pytest

from gateway.routing.callers import Bypass, ClaimRule, bypass_of, parse_network, wanted_claims

STAFF = ClaimRule("role", ("staff", "press"))
PROBES = tuple(filter(None, map(parse_network, ("10.9.0.0/16", "2001:db8::/32", "::1"))))
RULES = (Bypass("staff", by_claim=STAFF), Bypass("probes", networks=PROBES), Bypass("none"))


@pytest.mark.parametrize(
    ("claims", "address", "name"),
    [
        (set(), "192.0.2.1", None),
        ({("role", "staff")}, "192.0.2.1", "staff"),
        ({("role", "guest"), ("role", "press")}, "192.0.2.1", "staff"),
        ({("role", "guest")}, "192.0.2.1", None),
        ({("tier", "staff")}, "192.0.2.1", None),
        (set(), "10.9.255.255", "probes"),
        (set(), "10.10.0.0", None),
        (set(), "::ffff:10.9.0.1", "probes"),
        (set(), "2001:db8::7", "probes"),
        (set(), "::1", "probes"),
        (set(), "::2", None),
        (set(), "unknown", None),
        (set(), "", None),
        ({("role", "staff")}, "10.9.0.1", "staff"),
    ],
)
def test_the_first_rule_that_matches_counts(
    claims: set[tuple[str, str]], address: str, name: str | None
) -> None:
    assert bypass_of(RULES, frozenset(claims), address) == name


@pytest.mark.parametrize("text", ["", "10.9.0.1/16", "10.9", "intranet", "10.0.0.0/33", "*"])
def test_what_is_no_network(text: str) -> None:
    assert parse_network(text) is None


def test_values_of_one_claim_are_joined() -> None:
    rules = (STAFF, ClaimRule("role", ("vip",)), ClaimRule("tier", ("gold",)))
    assert wanted_claims(rules) == {"role": {"staff", "press", "vip"}, "tier": {"gold"}}


def test_rules_say_what_they_are() -> None:
    assert list(map(str, RULES[:2])) == [
        "staff: claim role staff or press",
        "probes: from 10.9.0.0/16, 2001:db8::/32, ::1/128",
    ]
