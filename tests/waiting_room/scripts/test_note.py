"""note: an operator's act that changes nothing in Redis."""

from __future__ import annotations

import pytest
import redis

from tests.waiting_room.rig import START, Rig


def test_it_writes_an_entry_and_nothing_else(rig: Rig) -> None:
    rig.lineup("ann")
    before = rig.line(), rig.inside()
    summary = rig.run("note", "invite", "bob", "1 use", "anna", "a guest", keys=[rig.keys.audit]).summary
    assert (rig.line(), rig.inside()) == before
    assert summary.allowed_in == 1
    [(_, entry)] = rig.client.xrange(rig.keys.audit)
    assert entry == {
        "at": str(START),
        "by": "anna",
        "act": "invite",
        "setting": "",
        "user": "bob",
        "from": "",
        "to": "1 use",
        "reason": "a guest",
    }


def test_an_operator_has_a_name(rig: Rig) -> None:
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT by"):
        rig.run("note", "invite", "", "1 use", "", "", keys=[rig.keys.audit])


def test_an_audit_of_another_type_is_an_error(rig: Rig) -> None:
    rig.client.set(rig.keys.audit, "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE_KEY"):
        rig.run("note", "invite", "", "1 use", "anna", "", keys=[rig.keys.audit])
