"""Recomputes a published draw. Each check has one sentence on what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.draw import merkle, ranking
from gateway.draw.formulas import commitment_of, order_key, seed_of
from gateway.draw.published import PublishedDraw
from gateway.draw.receipts import Receipt
from gateway.draw.slices import run


class Check(NamedTuple):
    """One part of a draw. ``holds``: None if there is nothing to check it with."""

    name: str
    holds: bool | None
    finding: str


class Noted(NamedTuple):
    """What was noted before the opening, and who asks. None: not given."""

    commitment: bytes | None = None
    root: bytes | None = None
    user: str | None = None


def verify(draw: PublishedDraw, receipt: Receipt | None = None, noted: Noted | None = None) -> list[Check]:
    """Recomputes everything that the file, the receipt and the notes allow."""
    noted = noted or Noted()
    checks = [*_secret(draw, noted), *_entries(draw, noted)]
    if receipt is not None:
        checks += _receipt(draw, receipt, noted)
    return checks


def _secret(draw: PublishedDraw, noted: Noted) -> Iterator[Check]:
    yield _check(
        "commitment",
        commitment_of(draw.secret) == draw.commitment,
        "it is SHA-256 of the secret",
        "it is not SHA-256 of the secret: the secret was changed",
    )
    if noted.commitment is not None:
        yield _check(
            "commitment noted before",
            noted.commitment == draw.commitment,
            "it is that of the file",
            f"the file has another one, {draw.commitment.hex()}",
        )


def _entries(draw: PublishedDraw, noted: Noted) -> Iterator[Check]:
    if noted.root is not None:
        yield _check(
            "root noted before",
            noted.root == draw.root,
            "it is that of the file",
            f"the file has another one, {draw.root.hex()}",
        )
    if draw.entries is None:
        why = "this file has not all entries; the operator's has"
        yield Check("root", None, why)
        yield Check("order", None, why)
        return
    try:
        root = run(ranking.close(draw.entries)).root
    except ValueError as error:
        yield Check("root", False, str(error))
    else:
        yield _check(
            "root",
            root == draw.root,
            f"it is that of the {len(draw.entries)} entries",
            f"the entries have another one, {root.hex()}: entries were added, changed or left out",
        )
    misplaced = _misplaced(draw, draw.entries)
    yield _check(
        "order",
        misplaced is None,
        "it is that of the seed",
        f"the entry at rank {misplaced} does not come after the one before it",
    )


def _misplaced(draw: PublishedDraw, entries: Sequence[bytes]) -> int | None:
    """The first rank whose entry is not in ascending order; None if all are."""
    seed = seed_of(draw.secret, draw.root, draw.beacon.value if draw.beacon else "")
    before = b""
    for rank, entry in enumerate(entries, 1):
        key = order_key(seed, entry)
        if key <= before:
            return rank
        before = key
    return None


def _receipt(draw: PublishedDraw, receipt: Receipt, noted: Noted) -> Iterator[Check]:
    yield _check(
        "receipt's room",
        receipt.room == draw.room,
        "it is that of the draw",
        "it is another one: the receipt belongs to another draw",
    )
    if noted.user is not None:
        yield _check(
            "receipt's user",
            receipt.is_of(noted.user),
            "the entry is that of this user",
            "the entry is not that of this user",
        )
    if draw.proof is not None:
        yield _check(
            "proof",
            merkle.proves(draw.proof, receipt.entry, draw.root),
            f"the entry is one of the {draw.proof.size} under the root",
            "it does not show that the entry is under the root",
        )
    if draw.entries is None:
        yield Check("rank", None, "this file has not all entries; the operator's has")
        return
    try:
        rank = draw.entries.index(receipt.entry) + 1
    except ValueError:
        yield Check("rank", False, "the entry of the receipt is missing")
        return
    yield _check(
        "rank",
        draw.rank in (None, rank),
        f"it is {rank} of {len(draw.entries)}",
        f"it is {rank}, and the file says {draw.rank}",
    )


def _check(name: str, holds: bool, finding: str, fault: str) -> Check:
    return Check(name, holds, finding if holds else fault)
