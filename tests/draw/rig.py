"""A draw as a room publishes it, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.draw.formulas import commitment_of, seed_of
from gateway.draw.published import Beacon, published_object, with_entries, with_receipt
from gateway.draw.ranking import close, rank
from gateway.draw.receipts import Receipt, receipt_for
from gateway.draw.slices import run

SECRET = bytes(range(32))
BEACON = Beacon("lottery draw of 1 December", "0f1e2d")
USERS = ("alice", "bob", "carol", "dave", "가나다")
ROOM = "winter-sale"


def receipts(users: Sequence[str] = USERS, room: str = ROOM) -> dict[str, Receipt]:
    """A receipt for each user, with the salts of the test vectors."""
    return {
        user: receipt_for(room, user, bytes([place]) * 16, 1_800_000_000)
        for place, user in enumerate(users, 1)
    }


def operators_file(beacon: Beacon | None = BEACON, users: Sequence[str] = USERS) -> dict[str, Any]:
    """The file with all entries."""
    common, drawn = _drawn(beacon, users)
    return with_entries(common, drawn)


def own_file(user: str, signed: str, beacon: Beacon | None = BEACON) -> dict[str, Any]:
    """The file of one user, with the signed receipt."""
    closed = run(close(receipt.entry for receipt in receipts().values()))
    common, drawn = _drawn(beacon, USERS)
    entry = receipts()[user].entry
    return with_receipt(common, signed, drawn.index(entry) + 1, closed.proof(entry))


def _drawn(beacon: Beacon | None, users: Sequence[str]) -> tuple[dict[str, Any], list[bytes]]:
    closed = run(close(receipt.entry for receipt in receipts(users).values()))
    seed = seed_of(SECRET, closed.root, beacon.value if beacon else "")
    common = published_object(ROOM, commitment_of(SECRET), closed.root, SECRET, beacon)
    return common, list(run(rank(seed, closed)))
