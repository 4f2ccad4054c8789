"""``gateway room verify``: recomputes a published draw, offline."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.auth.jws import InvalidJws, parse_jws, verify_jws
from gateway.auth.visitors import key_of
from gateway.cli.parsing import Commands, complete_files
from gateway.draw.formulas import HASH_BYTES
from gateway.draw.published import MAX_BYTES, NotPublished, parse_published
from gateway.draw.receipts import RECEIPT_TYPE, Receipt, parse_hex, parse_receipt
from gateway.draw.verification import Check, Noted, verify

_WORDS: Final = {True: "holds", False: "FALSE", None: "-"}


class _WrongUse(Exception):
    """The command can't be carried out as it was given; the text says why."""


def add_verify_to(commands: Commands, files: object = None) -> None:
    """Add ``verify``. ``files``: see ``complete_files``."""
    command = commands.add_parser(
        "verify",
        help="recompute a published draw, without a gateway",
        description="Recompute the published file of a draw offline: exit status 0 if it holds, 1 if it does not, "
        "2 for wrong use. FILE is an operator's file with all entries, or a user's own.",
    )
    complete_files(command.add_argument("file", type=Path, metavar="FILE", help="the published file"), files)
    command.add_argument("--commitment", type=_hash, metavar="HEX", help="that noted before the opening")
    command.add_argument(
        "--root", type=_hash, metavar="HEX", help="that noted before the beacon's value was known"
    )
    command.add_argument("--receipt", metavar="JWS", help="a user's receipt, if FILE has none")
    command.add_argument(
        "--user", metavar="USER", help="whose receipt it must be: the sub of the token, or visitor:ID"
    )
    keys = command.add_argument(
        "--keys",
        type=Path,
        metavar="KEYS",
        help="saved pass-keys.json, to check the receipt's signature with",
    )
    complete_files(keys, files)
    command.add_argument("--json", action="store_true", help="print the checks as JSON")
    command.set_defaults(run=_run)


def _hash(text: str) -> bytes:
    try:
        return parse_hex("the value", text, HASH_BYTES)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    try:
        text = _read(options.file)
        keys = None if options.keys is None else _read(options.keys)
        checks = _checks(options, text, keys)
    except _WrongUse as error:
        print(f"gateway room verify: {error}", file=sys.stderr)
        return 2
    holds = all(check.holds is not False for check in checks)
    if options.json:
        listed = [{"check": name, "holds": good, "finding": finding} for name, good, finding in checks]
        print(json.dumps({"holds": holds, "checks": listed}, ensure_ascii=False, indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for name, good, finding in checks:
            print(f"{_WORDS[good]:5}  {name:{width}}  {finding}")
        print("the draw holds" if holds else "the draw does not hold")
    return 0 if holds else 1


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            return source.read(MAX_BYTES + 1)
    except OSError as error:
        raise _WrongUse(f"{file}: {error.strerror}") from None


def _checks(options: argparse.Namespace, text: bytes, keys: bytes | None) -> list[Check]:
    try:
        draw = parse_published(text)
    except NotPublished as error:
        return [Check("file", False, f"it is no published draw: {error}")]
    signed = options.receipt or draw.receipt
    if signed is None and (options.user is not None or keys is not None):
        raise _WrongUse("--user and --keys need a receipt: FILE has none, so give --receipt")
    user = None if options.user is None else key_of(options.user)
    receipt, of_receipt = _receipt(signed, keys) if signed is not None else (None, [])
    return [*verify(draw, receipt, Noted(options.commitment, options.root, user)), *of_receipt]


def _receipt(signed: str, keys: bytes | None) -> tuple[Receipt | None, list[Check]]:
    """The receipt, if it can be read, and the checks of its form and its signature."""
    name = "receipt's signature"
    try:
        jws = parse_jws(signed)
    except InvalidJws as error:
        return None, [Check("receipt", False, str(error))]
    try:
        receipt = parse_receipt(jws.claims)
    except ValueError as error:
        return None, [Check("receipt", False, str(error))]
    if keys is None:
        return receipt, [
            Check(name, None, "not checked: save pass-keys.json with the receipt and give --keys")
        ]
    from gateway.auth.key_set import NoKeySet, parse_key_set  # noqa: PLC0415 - the others need no library

    try:
        verify_jws(jws, parse_key_set(keys, ("ES256",)), typ=RECEIPT_TYPE)
    except NoKeySet as error:
        raise _WrongUse(f"--keys: {error}") from None
    except InvalidJws as error:
        return receipt, [Check(name, False, str(error))]
    return receipt, [Check(name, True, "it is that of a published key")]
