"""Whose turn it is."""

from __future__ import annotations

import pytest

from gateway.errors import NoInstance
from gateway.proxy.ejections import EJECTION_MEMORY_SECONDS, EJECTION_SECONDS
from gateway.proxy.load_balancer import Instances
from gateway.proxy.upstream import UpstreamBase
from gateway.resilience.services import ServicePolicy
from tests.support.clock import Clock

ONE, TWO, THREE = (UpstreamBase("http", "127.0.0.1", port) for port in (1, 2, 3))
URLS = [str(base) for base in (ONE, TWO, THREE)]


def test_instances_take_turns() -> None:
    instances = Instances({"svc": URLS})
    assert [instances.pick("svc") for _ in range(6)] == [ONE, TWO, THREE] * 2


def test_names_count_without_regard_to_case() -> None:
    instances = Instances({"Svc": URLS[:1]})
    assert instances.pick("sVC") == ONE


@pytest.mark.parametrize("services", [{}, {"svc": []}])
def test_a_service_without_instances_is_told(services: dict[str, list[str]]) -> None:
    with pytest.raises(NoInstance) as caught:
        Instances(services).pick("svc")
    assert caught.value.service == "svc"


def test_an_ejected_instance_is_left_out_for_a_while() -> None:
    clock = Clock(100.0)
    instances = Instances({"svc": URLS}, clock=clock)
    instances.eject(TWO)
    assert {instances.pick("svc") for _ in range(6)} == {ONE, THREE}
    clock.now += EJECTION_SECONDS
    assert {instances.pick("svc") for _ in range(6)} == {ONE, TWO, THREE}


def test_one_request_finds_out_for_all_whether_an_instance_is_back() -> None:
    clock = Clock(100.0)
    instances = Instances({"svc": URLS}, clock=clock)
    instances.eject(TWO)
    for _ in range(3):
        clock.now += EJECTION_SECONDS
        assert [instances.pick("svc") for _ in range(12)].count(TWO) == 1
    instances.connected(TWO)
    assert [instances.pick("svc") for _ in range(12)].count(TWO) == 4


def test_an_instance_that_took_a_connection_is_not_aside_any_more() -> None:
    instances = Instances({"svc": URLS[:2]}, clock=Clock(100.0))
    instances.connected(ONE)
    instances.eject(ONE)
    assert {instances.pick("svc") for _ in range(4)} == {TWO}
    instances.connected(ONE)
    assert {instances.pick("svc") for _ in range(4)} == {ONE, TWO}


def test_if_all_are_set_aside_the_first_of_them_is_asked() -> None:
    clock = Clock(100.0)
    instances = Instances({"svc": URLS[:2]}, clock=clock)
    instances.eject(TWO)
    clock.now += 1
    instances.eject(ONE)
    assert instances.pick("svc") == TWO
    assert instances.pick("svc", [TWO]) == ONE


def test_no_instance_is_tried_twice() -> None:
    instances = Instances({"svc": URLS})
    assert {instances.pick("svc", [ONE, TWO]) for _ in range(3)} == {THREE}
    with pytest.raises(NoInstance):
        instances.pick("svc", [ONE, TWO, THREE])


def test_what_a_registry_knows_comes_on_top_each_once() -> None:
    instances = Instances({"svc": URLS[:2]})
    instances.discover({"SVC": [TWO, THREE], "Other": [ONE]})
    assert instances.known("sVc") == (ONE, TWO, THREE)
    assert instances.pick("OTHER") == ONE


def test_what_is_written_down_and_what_a_registry_knows_change_without_each_other() -> None:
    instances = Instances({"svc": URLS[:1]})
    instances.discover({"svc": [TWO]})
    instances.replace({"svc": [URLS[2]]})
    assert instances.known("svc") == (THREE, TWO)
    instances.discover({"svc": [ONE]})
    assert instances.known("svc") == (THREE, ONE)
    instances.replace({})
    assert instances.known("svc") == (ONE,)
    instances.discover({})
    assert instances.known("svc") == ()


def test_an_ejected_instance_stays_ejected_when_a_registry_repeats_it() -> None:
    instances = Instances(clock=Clock(100.0))
    instances.discover({"svc": [ONE, TWO]})
    instances.eject(ONE)
    instances.discover({"svc": [ONE, TWO, THREE]})
    assert {instances.pick("svc") for _ in range(6)} == {TWO, THREE}


def test_turns_go_on_when_a_registry_changes_and_are_forgotten_with_the_service() -> None:
    instances = Instances({"here": URLS})
    instances.discover({"svc": [ONE, TWO]})
    for service in ("svc", "here"):
        instances.pick(service)
    instances.discover({"svc": [ONE, TWO, THREE]})
    assert instances.pick("svc") == TWO
    instances.discover({})
    assert set(instances._turns) == {"here"}


def test_replacing_swaps_all_or_nothing() -> None:
    instances = Instances({"svc": URLS[:1]})
    instances.replace({"svc": [URLS[1]], "other": [URLS[2]]})
    assert (instances.pick("svc"), instances.pick("other")) == (TWO, THREE)
    with pytest.raises(ValueError, match="not http"):
        instances.replace({"svc": [URLS[0]], "bad": ["ftp://x"]})
    assert instances.pick("svc") == TWO
    policies = {"svc": ServicePolicy({URLS[0]: 5}), "bad": ServicePolicy({"ftp://x": 5})}
    with pytest.raises(ValueError, match="not http"):
        instances.replace({"svc": [URLS[0]]}, policies)
    assert instances.pick("svc") == TWO
    assert not instances.balancers()


def test_an_ejection_of_long_ago_is_forgotten() -> None:
    clock = Clock(100.0)
    instances = Instances(clock=clock)
    for port in range(1000):
        instances.eject(UpstreamBase("http", "h", port))
        clock.now += 1
    assert len(instances._ejections.until) <= EJECTION_SECONDS + EJECTION_MEMORY_SECONDS + 1
