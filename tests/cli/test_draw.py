"""``gateway room verify``: exit statuses, output, and what counts as wrong use."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.visitors import visitor_key
from gateway.cli.main import main
from gateway.draw.receipts import receipt_for
from tests.draw.rig import operators_file, own_file, receipts
from tests.support.tokens import Issuer

FILE = operators_file()


def verify(*arguments: str | Path) -> int:
    return main(["room", "verify", *map(str, arguments)], {})


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(content: object, name: str = "draw.json") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def test_a_draw_that_holds_is_exit_status_0(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(written(FILE)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "holds  commitment  it is SHA-256 of the secret",
        "holds  root        it is that of the 5 entries",
        "holds  order       it is that of the seed",
        "the draw holds",
    ]


def test_a_draw_that_does_not_hold_is_exit_status_1_with_what_does_not(
    written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(written({**FILE, "entries": FILE["entries"][1:]})) == 1
    out = capsys.readouterr().out
    assert "FALSE  root        the entries have another one" in out
    assert out.endswith("the draw does not hold\n")


def test_what_is_no_published_draw_does_not_hold(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(written(b"<html>")) == 1
    assert "it is no published draw: it is not JSON" in capsys.readouterr().out
    assert verify(written({**FILE, "secret": None})) == 1
    assert "has not opened yet" in capsys.readouterr().out


def test_the_checks_as_json(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(written(FILE), "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["holds"] is True
    assert printed["checks"][0] == {
        "check": "commitment",
        "holds": True,
        "finding": "it is SHA-256 of the secret",
    }


def test_noted_values_are_compared(written: Any) -> None:
    file = written(FILE)
    assert verify(file, "--commitment", FILE["commitment"], "--root", FILE["root"]) == 0
    assert verify(file, "--commitment", "00" * 32) == 1
    assert verify(file, "--root", "00" * 32) == 1


@pytest.mark.parametrize("value", ["", "00", "zz" * 32, FILE["root"].upper()])
def test_a_noted_value_that_is_none_is_wrong_use(value: str, written: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        verify(written(FILE), "--root", value)


@pytest.mark.parametrize(
    "arguments",
    [("missing.json",), (".",), ("draw.json", "--user", "alice"), ("draw.json", "--keys", "none")],
)
def test_wrong_use_is_exit_status_2(
    arguments: tuple[str, ...],
    written: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written(FILE)
    monkeypatch.chdir(tmp_path)
    assert verify(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("gateway room verify: ")


def signed_receipt(issuer: Issuer, typ: str = "queue-receipt+jwt", **change: Any) -> str:
    header = {"alg": "ES256", "kid": issuer.kid, "typ": typ}
    return issuer.signed(header, {**receipts()["alice"].claims(), **change})


def test_a_receipt_is_checked_with_saved_keys(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    issuer = Issuer(algorithm="ES256")
    receipt = signed_receipt(issuer)
    mine, keys = written(own_file("alice", receipt), "mine.json"), written(issuer.jwks(), "keys.json")
    assert verify(mine, "--user", "alice", "--keys", keys) == 0
    assert "it is that of a published key" in capsys.readouterr().out
    assert verify(written(FILE), "--receipt", receipt, "--user", "alice", "--keys", keys) == 0
    assert "it is 4 of 5" in capsys.readouterr().out
    assert verify(mine, "--user", "bob") == 1
    assert verify(mine) == 0
    assert "give --keys" in capsys.readouterr().out


def test_a_visitors_receipt_is_checked_by_the_id(written: Any) -> None:
    visitor = "hT2_k0mZ5mJ3xQ9sVb7cDw"
    receipt = receipt_for(FILE["room"], visitor_key(visitor), b"\1" * 16, 0)
    signed = signed_receipt(Issuer(algorithm="ES256"), **receipt.claims())
    root = sha256(b"\0" + receipt.entry).hexdigest()
    draw = {**FILE, "root": root, "entries": [receipt.entry.hex()]}
    assert verify(written(draw), "--receipt", signed, "--user", f"visitor:{visitor}") == 0
    assert verify(written(draw), "--receipt", signed, "--user", f"user:visitor:{visitor}") == 1


def test_a_receipt_of_another_signer_or_kind_does_not_hold(
    written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    issuer, other = Issuer(algorithm="ES256"), Issuer(algorithm="ES256", key=1, kid="other")
    file, keys = written(FILE), written(issuer.jwks(), "keys.json")
    forged = signed_receipt(issuer).rpartition(".")[0] + "." + signed_receipt(other).rpartition(".")[2]
    for receipt, words in (
        (signed_receipt(other), "its key is not among the published ones"),
        (forged, "its signature is not that of its key"),
        (signed_receipt(issuer, typ="JWT"), "its typ is not queue-receipt+jwt"),
        (signed_receipt(issuer, entry="0"), "entry is not 32 bytes"),
        ("a.b", "it is no compact JWS"),
    ):
        assert verify(file, "--receipt", receipt, "--keys", keys) == 1
        assert words in capsys.readouterr().out


def test_a_file_of_keys_that_is_none_is_wrong_use(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    receipt = signed_receipt(Issuer(algorithm="ES256"))
    assert verify(written(FILE), "--receipt", receipt, "--keys", written([], "keys.json")) == 2
    assert "--keys: it is a list" in capsys.readouterr().err
