"""The published file of a draw: what operators download with all entries, and users with their own receipt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.draw.formulas import HASH_BYTES, SECRET_BYTES
from gateway.draw.merkle import MAX_PATH, Proof
from gateway.draw.receipts import parse_hex

MAX_BYTES: Final = 256 * 1024 * 1024
MAX_ENTRIES: Final = 2_000_000
_MAX_INDEX: Final = 2**63


class NotPublished(ValueError):
    """The text is no published draw; the message says why, without quoting it."""


@dataclass(frozen=True, slots=True)
class Beacon:
    """The public random value of a draw: where it comes from, and the value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class PublishedDraw:
    """A draw after its opening.

    ``entries``: all of them, that of rank 1 first; None in a user's own file. ``receipt``, ``rank`` and ``proof``: a
    user's own, as far as the file has them.
    """

    room: str
    commitment: bytes
    root: bytes
    secret: bytes
    beacon: Beacon | None = None
    entries: tuple[bytes, ...] | None = None
    receipt: str | None = None
    rank: int | None = None
    proof: Proof | None = None


def published_object(
    room: str, commitment: bytes, root: bytes, secret: bytes, beacon: Beacon | None
) -> dict[str, Any]:
    """What the files of operators and users have in common, ready for JSON."""
    return {
        "room": room,
        "commitment": commitment.hex(),
        "beacon": None if beacon is None else {"name": beacon.name, "value": beacon.value},
        "root": root.hex(),
        "secret": secret.hex(),
    }


def with_entries(common: Mapping[str, Any], entries: Iterable[bytes]) -> dict[str, Any]:
    """The operators' file. ``entries``: all of them, that of rank 1 first."""
    return {**common, "entries": [entry.hex() for entry in entries]}


def with_receipt(common: Mapping[str, Any], receipt: str, rank: int, proof: Proof) -> dict[str, Any]:
    """A user's own file. ``receipt``: the signed one."""
    return {**common, "receipt": receipt, "rank": rank, "proof": proof_object(proof)}


def proof_object(proof: Proof) -> dict[str, Any]:
    """A proof, ready for JSON."""
    return {"index": proof.index, "size": proof.size, "path": [one.hex() for one in proof.path]}


def parse_published(text: bytes) -> PublishedDraw:
    """Reads a published file, or a whole answer of the gateway that has it as its ``data``. Members that are unknown
    here do not matter. Raises NotPublished."""
    if len(text) > MAX_BYTES:
        raise NotPublished(f"it is longer than {MAX_BYTES} bytes")
    try:
        return _draw(_object(text))
    except NotPublished:
        raise
    except RecursionError:
        raise NotPublished("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise NotPublished(f"it is not JSON (line {error.lineno}, column {error.colno})") from None
    except UnicodeDecodeError:
        raise NotPublished("it is not in UTF-8") from None
    except ValueError as error:
        raise NotPublished(str(error)) from None


def _object(text: bytes) -> dict[str, Any]:
    given = json.loads(text, object_pairs_hook=_unique)
    if isinstance(given, dict) and isinstance(given.get("data"), dict):
        given = given["data"]
    if not isinstance(given, dict):
        raise NotPublished("it is no JSON object")
    return given


def _draw(given: Mapping[str, Any]) -> PublishedDraw:
    if given.get("secret") is None:
        raise NotPublished("it has no secret: the room has not opened yet")
    room, receipt, rank = _text("room", given.get("room")), given.get("receipt"), given.get("rank")
    return PublishedDraw(
        room=room,
        commitment=parse_hex("commitment", given.get("commitment"), HASH_BYTES),
        root=parse_hex("root", given.get("root"), HASH_BYTES),
        secret=parse_hex("secret", given.get("secret"), SECRET_BYTES),
        beacon=_beacon(given.get("beacon")),
        entries=_entries(given.get("entries")),
        receipt=None if receipt is None else _text("receipt", receipt),
        rank=None if rank is None else _whole("rank", rank),
        proof=_proof(given.get("proof")),
    )


def _beacon(given: object) -> Beacon | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise NotPublished("beacon is no object")
    return Beacon(_text("beacon.name", given.get("name")), _text("beacon.value", given.get("value")))


def _entries(given: object) -> tuple[bytes, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list):
        raise NotPublished("entries is no list")
    if len(given) > MAX_ENTRIES:
        raise NotPublished(f"it has more than {MAX_ENTRIES} entries")
    return tuple(parse_hex(f"entry {place}", one, HASH_BYTES) for place, one in enumerate(given, 1))


def _proof(given: object) -> Proof | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise NotPublished("proof is no object")
    path = given.get("path")
    if not isinstance(path, list) or len(path) > MAX_PATH:
        raise NotPublished(f"proof.path is no list of at most {MAX_PATH} hashes")
    return Proof(
        _whole("proof.index", given.get("index")),
        _whole("proof.size", given.get("size")),
        tuple(parse_hex("a hash of proof.path", one, HASH_BYTES) for one in path),
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise NotPublished(f"{name} is no text")
    value.encode()  # raises UnicodeEncodeError, a ValueError, for half of a surrogate pair
    return value


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_INDEX:
        raise NotPublished(f"{name} is no whole number from 0")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotPublished("a member of it occurs twice")
    return members
