"""Services with a policy of their own: weights, the fewest requests, hashes, and instances that fail."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway.proxy.load_balancer import Instances
from gateway.proxy.upstream import UpstreamBase
from gateway.resilience.services import EjectPolicy, ServicePolicy

URLS = [f"http://10.0.0.{number}:80" for number in (1, 2, 3, 4)]
BASES = [UpstreamBase.parse(url) for url in URLS]


class Seen:
    """What the load balancer tells."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self.changes: list[tuple[str, bool]] = []

    def ejected(self, service: str) -> None:
        self.left_out.append(service)

    def health_changed(self, service: str, healthy: bool) -> None:
        self.changes.append((service, healthy))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _instances(count: int = 3, **policy: Any) -> tuple[Instances, Clock, dict[UpstreamBase, int], list[str]]:
    clock, load, seen = Clock(), dict[UpstreamBase, int](), Seen()
    instances = Instances({}, clock, load, seen)
    weights = policy.pop("weights", dict.fromkeys(URLS[:count], 1))
    instances.replace({"Shop": list(weights)}, {"shop": ServicePolicy(weights, **policy)})
    return instances, clock, load, seen.left_out


def test_instances_take_turns_by_their_weights_and_evenly() -> None:
    instances, _, _, _ = _instances(weights={URLS[0]: 3, URLS[1]: 1, URLS[2]: 1})
    order = [BASES.index(instances.pick("SHOP")) for _ in range(10)]
    assert Counter(order) == {0: 6, 1: 2, 2: 2}
    assert order[:5] == order[5:]
    assert [0, 0, 0] not in [order[at : at + 3] for at in range(4)], "the heavy one is not asked all at once"


def test_the_one_with_the_fewest_requests_for_its_weight_is_next() -> None:
    instances, _, load, _ = _instances(weights={URLS[0]: 1, URLS[1]: 2}, balance="least-requests")
    load.update({BASES[0]: 1, BASES[1]: 2})
    assert instances.pick("shop") == BASES[1]
    load.update({BASES[0]: 1, BASES[1]: 4})
    assert instances.pick("shop") == BASES[0]
    load.clear()
    assert {instances.pick("shop") for _ in range(6)} == {BASES[1]}, (
        "twice the weight, and none has a request"
    )


def test_equal_ones_take_turns() -> None:
    instances, _, _, _ = _instances(balance="least-requests")
    assert Counter(instances.pick("shop") for _ in range(9)) == dict.fromkeys(BASES[:3], 3)


def test_a_key_keeps_its_instance_and_requests_without_one_take_turns() -> None:
    instances, _, _, _ = _instances(balance="hash", hash_by="user")
    for key in ("anna", "bert", "cora"):
        first = instances.pick("shop", key=key)
        assert {instances.pick("shop", key=key) for _ in range(5)} == {first}
        assert instances.pick("shop", (first,), key) != first
    assert len({instances.pick("shop") for _ in range(3)}) == 3


def test_an_instance_that_keeps_failing_is_left_out_and_longer_each_time() -> None:
    instances, clock, _, ejected = _instances(eject=EjectPolicy(failures=3, seconds=30))
    for expected in (30, 60, 90):
        for _ in range(3):
            assert BASES[0] in {instances.pick("shop") for _ in range(6)}
            instances.failed(BASES[0])
        assert BASES[0] not in {instances.pick("shop") for _ in range(6)}
        # A connection alone does not bring it back.
        instances.connected(BASES[0])
        clock.now += expected - 0.1
        assert BASES[0] not in {instances.pick("shop") for _ in range(6)}
        clock.now += 0.2
        assert BASES[0] in {instances.pick("shop") for _ in range(6)}
        instances.connected(BASES[0])
    assert ejected == ["shop"] * 3


def test_an_answer_ends_the_row_of_failures_and_statuses_from_500_are_failures() -> None:
    instances, _, _, ejected = _instances(eject=EjectPolicy(failures=2))
    for status in (500, 404, 503, 200, 599):
        instances.answered(BASES[0], status)
    assert ejected == []
    instances.answered(BASES[0], 502)
    assert ejected == ["shop"]


def test_after_a_time_without_failures_an_ejection_is_short_again() -> None:
    instances, clock, _, _ = _instances(eject=EjectPolicy(failures=1, seconds=10))
    instances.failed(BASES[0])
    clock.now += 21
    instances.answered(BASES[0], 200)
    instances.failed(BASES[0])
    clock.now += 10.1
    assert BASES[0] in {instances.pick("shop") for _ in range(6)}


def test_never_more_than_the_share_is_left_out() -> None:
    instances, clock, _, ejected = _instances(4, eject=EjectPolicy(failures=1, seconds=10))
    for base in BASES:
        instances.failed(base)
    assert len(ejected) == 2
    assert {instances.pick("shop") for _ in range(8)} == set(BASES[2:])
    clock.now += 10.1
    instances.failed(BASES[2])
    assert len(ejected) == 3


def test_a_single_instance_is_always_asked() -> None:
    instances, _, _, ejected = _instances(1, eject=EjectPolicy(failures=1))
    instances.failed(BASES[0])
    assert instances.pick("shop") == BASES[0]
    assert ejected == []


def test_what_is_known_of_instances_outlives_a_reload_and_discovered_ones_count() -> None:
    instances, _, _, ejected = _instances(2, eject=EjectPolicy(failures=2))
    instances.failed(BASES[0])
    policy = {"shop": ServicePolicy(dict.fromkeys(URLS[:2], 1), eject=EjectPolicy(failures=2))}
    instances.replace({"shop": URLS[:2]}, policy)
    instances.discover({"shop": [BASES[2]]})
    instances.failed(BASES[0])
    assert ejected == ["shop"]
    assert {instances.pick("shop") for _ in range(4)} == {BASES[1], BASES[2]}


def test_services_without_a_policy_are_as_they_were() -> None:
    instances = Instances({"shop": URLS[:3]})
    for _ in range(20):
        instances.failed(BASES[0])
        instances.answered(BASES[0], 503)
    assert [instances.pick("shop") for _ in range(3)] == BASES[:3]
