"""Which admissions are noted, and that nobody is remembered for ever."""

from __future__ import annotations

from gateway.observability.spans import Admissions, Tracer
from gateway.waiting_room.events import RoomEvent
from tests.observability.rig import SAMPLED, UNSAMPLED, Kept


def admitted(user: str, ticket: int, room: str = "default") -> RoomEvent:
    return RoomEvent(room, user, ticket, "ADMITTED", None, 240.0)


def removed(user: str, ticket: int) -> RoomEvent:
    return RoomEvent("default", user, ticket, "REMOVED", "LEFT", 0.0)


def test_an_admission_is_noted_once_in_the_trace_of_the_lineup_and_without_the_user() -> None:
    kept = Kept()
    admissions = Admissions(Tracer(kept))
    admissions.waits("default", "ann", 7, SAMPLED)
    admissions.deliver([admitted("bob", 6), admitted("ann", 7), admitted("ann", 7)])
    [span] = kept
    assert span.context.parent_id == SAMPLED.span_id
    assert span.tags["queue.room"] == "default"
    assert "ann" not in repr(span)
    assert len(admissions) == 0


def test_what_is_not_sampled_is_not_remembered() -> None:
    kept = Kept()
    admissions = Admissions(Tracer(kept))
    admissions.waits("default", "ann", 7, UNSAMPLED)
    assert len(admissions) == 0
    nowhere = Admissions(Tracer(None))
    nowhere.waits("default", "ann", 7, SAMPLED)
    assert len(nowhere) == 0


def test_rooms_tickets_and_removals_are_told_apart() -> None:
    kept = Kept()
    admissions = Admissions(Tracer(kept))
    admissions.waits("default", "ann", 7, SAMPLED)
    admissions.deliver([admitted("ann", 7, room="vip"), admitted("ann", 6)])
    assert len(admissions) == 1
    admissions.deliver([removed("ann", 7)])
    assert len(admissions) == 0
    admissions.waits("default", "ann", 8, SAMPLED)
    # A later stay in line, begun at another instance: the end of ours was missed.
    admissions.deliver([admitted("ann", 9)])
    assert (len(admissions), kept) == (0, [])


def test_a_repeated_lineup_is_remembered_once_and_as_the_newest() -> None:
    admissions = Admissions(Tracer(Kept()), max_waiting=2)
    admissions.waits("default", "ann", 1, SAMPLED)
    admissions.waits("default", "bob", 2, SAMPLED)
    admissions.waits("default", "ann", 3, SAMPLED)
    admissions.waits("default", "eve", 4, SAMPLED)
    assert len(admissions) == 2
    admissions.deliver([removed("bob", 2)])
    assert len(admissions) == 2
    admissions.deliver([removed("ann", 3), removed("eve", 4)])
    assert len(admissions) == 0
