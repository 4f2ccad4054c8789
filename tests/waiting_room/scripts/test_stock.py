"""stock: what is left to sell, as services and operators say it."""

from __future__ import annotations

import pytest
import redis

from gateway.waiting_room.state import parse_states
from tests.waiting_room.rig import Rig


def in_redis(rig: Rig) -> str | None:
    return rig.client.hget(rig.keys.settings, "stock")


def test_the_last_writer_wins(rig: Rig) -> None:
    assert rig.run("status", 0).summary.stock is None
    assert rig.run("stock", 37).summary.stock == 37
    assert rig.limits(stock=12).stock == 12
    assert in_redis(rig) == "12 operator"
    assert rig.run("stock", 12).summary.stock == 12
    assert in_redis(rig) == "12 service"
    assert rig.run("stock", 0).summary.stock == 0
    assert rig.run("gate", "ann").summary.stock == 0


@pytest.mark.parametrize("change", [{"stock": "off"}, {"lift": True}])
def test_an_operator_lifts_it(rig: Rig, change: dict[str, object]) -> None:
    rig.run("stock", 37)
    assert rig.limits(**change).stock is None  # type: ignore[arg-type]
    assert in_redis(rig) is None


def test_other_changes_leave_it(rig: Rig) -> None:
    rig.run("stock", 37)
    assert rig.limits(capacity=5, rules="claim=5000").stock == 37


def test_lifting_all_and_setting_it_sets_it(rig: Rig) -> None:
    rig.run("stock", 37)
    assert rig.limits(lift=True, stock=5).stock == 5


@pytest.mark.parametrize("left", ["", "-1", "x", "nan"])
def test_what_is_no_number_is_refused(rig: Rig, left: str) -> None:
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT left"):
        rig.run("stock", left)
    if left:
        with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT new_stock"):
            rig.limits(stock=left)
    assert in_redis(rig) is None


def test_an_unusable_value_in_redis_counts_as_none(rig: Rig) -> None:
    for value in ("", "x", "-3 service", "service 5"):
        rig.client.hset(rig.keys.settings, "stock", value)
        assert rig.run("status", 0).summary.stock is None


def test_an_operators_change_is_in_the_audit(rig: Rig) -> None:
    rig.run("stock", 37)
    rig.limits(stock=12)
    rig.limits(stock=12)
    rig.limits(lift=True)
    rig.limits(stock="off")
    entries = [fields for _, fields in rig.client.xrange(rig.keys.audit)]
    assert [(each["act"], each["setting"], each["from"], each["to"]) for each in entries] == [
        ("set", "stock", "37", "12"),
        ("set", "stock", "12", "12"),
        ("lift", "stock", "12", ""),
        ("lift", "stock", "", ""),
    ]


def test_users_beyond_half_as_many_again_and_those_inside_are_unlikely_to_get_any(rig: Rig) -> None:
    users = [f"u{n}" for n in range(12)]
    rig.lineup(*users)

    def unlikely() -> list[str]:
        reply = rig.run("status", 0, *users)
        states = parse_states("default", reply.summary, reply.answers)
        return [user for user, state in zip(users, states, strict=True) if state.unlikely]

    assert unlikely() == []
    rig.run("stock", 4)
    # Two are inside. 4 × 1.5 + 2 = 8: those at the positions 9 and 10.
    assert unlikely() == users[10:]
    rig.run("stock", 3)
    # 3 × 1.5 + 2 = 6.5
    assert unlikely() == users[8:]
    rig.run("stock", 0)
    assert unlikely() == users[4:]
    rig.limits(stock="off")
    assert unlikely() == []
