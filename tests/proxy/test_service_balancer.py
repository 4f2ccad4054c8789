"""Services with health checks and a slow start: what is decided, without any connection."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gateway.proxy.load_balancer import Instances
from gateway.proxy.service_balancer import CheckedInstance
from gateway.proxy.upstream import UpstreamBase
from gateway.resilience.services import EjectPolicy, HealthPolicy, ServicePolicy, slow_start_share
from tests.support.clock import Clock

URLS = [f"http://10.0.0.{number}:81" for number in (1, 2, 3, 4)]
A, B, C, D = (UpstreamBase.parse(url) for url in URLS)
HEALTH = HealthPolicy("/health", unhealthy=3, healthy=2)


class Service:
    """A service ``shop`` with a policy."""

    def __init__(self, *urls: str, **policy: Any) -> None:
        self.clock, self.load = Clock(1000.0), dict[UpstreamBase, int]()
        self.changes: list[bool] = []
        self.instances = Instances({}, self.clock, self.load, self)
        self.policy = policy
        self.set(*urls)

    def set(self, *urls: str) -> None:
        self.instances.replace({"shop": urls}, {"shop": ServicePolicy(dict.fromkeys(urls, 1), **self.policy)})

    def ejected(self, service: str) -> None: ...

    def health_changed(self, service: str, healthy: bool) -> None:
        self.changes.append(healthy)

    def check(self, *bases: UpstreamBase, problem: str = "", times: int = 1) -> None:
        for _ in range(times):
            for base in bases:
                self.instances.checked("shop", base, problem)

    def picks(self, count: int = 60, key: str = "") -> Counter[UpstreamBase]:
        return Counter(self.instances.pick("shop", key=key) for _ in range(count))

    def states(self) -> dict[str, str]:
        [report] = self.instances.report()
        return {each.instance: each.state for each in report.instances}


def test_an_instance_that_was_never_asked_gets_requests_only_while_no_other_is_known_to_be_well() -> None:
    service = Service(*URLS[:3], health=HEALTH)
    assert set(service.picks()) == {A, B, C}
    service.check(B)
    assert set(service.picks()) == {B}
    service.check(A, problem="status 503")
    assert set(service.picks()) == {B}
    service.check(C)
    assert set(service.picks()) == {B, C}
    assert list(service.states().values()) == ["unhealthy", "healthy", "healthy"]


def test_as_many_results_in_a_row_as_the_policy_says_change_the_health() -> None:
    service = Service(*URLS[:2], health=HEALTH)
    service.check(A, B)
    service.check(A, problem="status 500", times=2)
    service.check(A)
    service.check(A, problem="status 500", times=2)
    assert set(service.picks()) == {A, B}
    service.check(A, problem="status 500")
    assert set(service.picks()) == {B}
    service.check(A)
    service.check(A, problem="status 500")
    service.check(A)
    assert set(service.picks()) == {B}
    service.check(A)
    assert set(service.picks()) == {A, B}
    assert service.changes == [True, True, False, True]


def test_while_none_is_healthy_all_get_requests() -> None:
    service = Service(*URLS[:2], health=HEALTH)
    service.check(A, B)
    service.check(A, B, problem="no connection", times=3)
    assert set(service.picks()) == {A, B}
    service.check(B, times=2)
    assert set(service.picks()) == {B}


def test_a_request_that_has_been_at_the_healthy_ones_goes_to_another() -> None:
    service = Service(*URLS[:2], health=HEALTH)
    service.check(A)
    service.check(B, problem="status 500")
    assert service.instances.pick("shop", (A,)) == B


def test_a_check_that_passes_ends_an_ejection_for_connections_and_none_for_failures() -> None:
    service = Service(*URLS[:3], health=HEALTH, eject=EjectPolicy(failures=1, seconds=30))
    service.check(A, B, C)
    service.instances.eject(A)
    assert service.states()[URLS[0]] == "ejected"
    service.check(A)
    assert A in service.picks()
    service.instances.failed(B)
    service.check(B, times=5)
    assert B not in service.picks()


def test_what_checks_have_found_outlives_a_reload() -> None:
    service = Service(*URLS[:2], health=HEALTH)
    service.check(A)
    service.check(B, problem="status 500")
    service.set(*URLS[:3])
    assert set(service.picks()) == {A}
    service.policy = {}
    service.set(*URLS[:3])
    assert set(service.picks()) == {A, B, C}


def test_a_result_that_comes_after_its_instance_has_gone_changes_nothing() -> None:
    service = Service(*URLS[:2], health=HEALTH)
    service.check(A, B, C)
    service.instances.checked("other", A, "")
    assert service.changes == [True, True]


@pytest.mark.parametrize(
    ("seconds", "share"), [(0.0, 0.1), (2.0, 0.1), (10.0, 0.5), (19.0, 0.95), (20.0, 1.0), (500.0, 1.0)]
)
def test_the_share_grows_in_a_straight_line_from_a_tenth(seconds: float, share: float) -> None:
    assert slow_start_share(seconds, 20.0) == pytest.approx(share)


@pytest.mark.parametrize("balance", ["round-robin", "least-requests"])
def test_a_new_instance_gets_a_growing_share(balance: str) -> None:
    service = Service(*URLS[:2], balance=balance, slow_start=20.0)
    assert service.picks(100) == {A: 50, B: 50}, "the first ones have nobody to be slower than"
    service.set(*URLS[:3])
    assert service.picks(210)[C] == pytest.approx(10, abs=1)
    service.clock.now += 10
    assert service.picks(250)[C] == pytest.approx(50, abs=1)
    service.clock.now += 10
    assert service.picks(300)[C] == pytest.approx(100, abs=1)


def test_with_the_fewest_requests_a_new_instance_still_gets_fewer_for_those_it_has() -> None:
    service = Service(*URLS[:2], balance="least-requests", slow_start=20.0)
    service.set(*URLS[:3])
    service.clock.now += 10
    service.load[C] = 4
    assert service.picks(210)[C] == pytest.approx(10, abs=1)


def test_an_instance_that_recovers_warms_up_and_the_first_ones_do_not() -> None:
    service = Service(*URLS[:2], health=HEALTH, slow_start=10.0)
    service.check(A, B)
    assert service.picks(100) == {A: 50, B: 50}
    service.check(B, problem="status 500", times=3)
    service.check(B, times=2)
    assert service.picks(110)[B] == pytest.approx(10, abs=1)
    service.clock.now += 10
    assert service.picks(100)[B] == pytest.approx(50, abs=1)


def test_a_new_instance_warms_up_from_its_first_check_that_passes() -> None:
    service = Service(*URLS[:2], health=HEALTH, slow_start=10.0)
    service.check(A, B)
    service.set(*URLS[:3])
    service.clock.now += 60
    service.check(C)
    assert service.picks(210)[C] == pytest.approx(10, abs=1)


def test_an_instance_back_from_an_ejection_warms_up() -> None:
    service = Service(*URLS[:2], slow_start=10.0)
    service.instances.eject(B)
    assert set(service.picks()) == {A}
    service.clock.now += 5
    assert service.picks()[B] == 1, "one request finds out"
    service.instances.connected(B)
    assert service.picks(110)[B] == pytest.approx(10, abs=1)


def test_a_key_keeps_its_instance_while_that_warms_up() -> None:
    service = Service(*URLS[:2], balance="hash", hash_by="user", slow_start=20.0)
    service.set(*URLS[:3])
    during = {key: service.instances.pick("shop", key=key) for key in map(str, range(200))}
    assert Counter(during.values())[C] > 40
    service.clock.now += 60
    assert all(service.instances.pick("shop", key=key) == base for key, base in during.items())


def test_the_report_says_state_reason_since_and_share() -> None:
    service = Service(*URLS[:3], health=HEALTH, slow_start=10.0)
    service.check(A)
    service.check(B, problem="status 503")
    service.clock.now += 4
    service.load[A] = 7
    [report] = service.instances.report()
    first, second, third = report.instances
    assert (first.state, first.seconds, first.requests) == ("healthy", 4.0, 7)
    assert (second.state, second.seconds, second.reason) == ("unhealthy", 4.0, "status 503")
    assert third.state == "unknown"
    service.check(B, times=2)
    assert [each.share for each in service.instances.report()[0].instances] == [1.0, 0.1, 1.0]
    assert report.count("healthy") == 1


def test_addresses_of_a_name_are_instances_that_come_and_go() -> None:
    service = Service("http://app:80", URLS[0], slow_start=10.0)
    name = UpstreamBase("http", "app", 80)
    one, two = name._replace(address="10.1.0.1"), name._replace(address="10.1.0.2")
    assert service.instances.names() == {name}
    assert set(service.picks()) == {name, A}
    service.instances.set_addresses(name, ("10.1.0.1",))
    assert service.picks(100) == {one: 50, A: 50}, "the same instance, now with its address"
    service.instances.set_addresses(name, ("10.1.0.1", "10.1.0.2"))
    assert service.picks(210)[two] == pytest.approx(10, abs=1), "a new one"
    service.instances.set_addresses(name, ("10.1.0.2",))
    assert set(service.picks()) == {two, A}
    service.set(URLS[0])
    service.set("http://app:80", URLS[0])
    assert set(service.picks()) == {name, A}, "addresses of a name that was gone are not kept"


def test_the_host_of_a_route_without_a_service_has_addresses_too() -> None:
    instances = Instances()
    host = UpstreamBase("http", "app", 80)
    instances.replace({}, hosts=[host, A, UpstreamBase("http", "localhost", 80)])
    assert instances.names() == {host}
    assert instances.pick(host) == host
    instances.set_addresses(host, ("10.1.0.1", "10.1.0.2"))
    assert [instances.pick(host).address for _ in range(4)] == ["10.1.0.1", "10.1.0.2"] * 2
    assert instances.pick(A) == A


def test_weights_are_those_of_each_address() -> None:
    instances = Instances()
    name = UpstreamBase("http", "app", 80)
    instances.replace(
        {"shop": ["http://app:80", URLS[0]]},
        {"shop": ServicePolicy({"http://app:80": 2, URLS[0]: 1})},
    )
    instances.set_addresses(name, ("10.1.0.1", "10.1.0.2"))
    picks = Counter(instances.pick("shop").address for _ in range(50))
    assert picks == {"10.1.0.1": 20, "10.1.0.2": 20, "": 10}


@pytest.mark.parametrize("first", ["", "status 500"])
def test_the_first_check_decides_alone(first: str) -> None:
    instance = CheckedInstance(0.0, joined_later=False)
    assert instance.take(first, HEALTH, 1.0)
    assert instance.healthy is (not first)
