"""The certificate of the gateway's own port: what can be used, and what becomes of one that can't."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.cli.main import main
from gateway.errors import SettingsError
from gateway.server.certificates import Certificates, CertificateUnusable
from gateway.settings.model import Settings
from tests.support.certificate_files import Pair, pair_for
from tests.support.gateway_process import gateway_process
from tests.support.waiting import eventually

ONE, OTHER, EXPIRED = pair_for("one"), pair_for("other"), pair_for("expired", -1.0)


def encrypted(pair: Pair) -> Pair:
    key = serialization.load_pem_private_key(pair.private_key, None)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    return Pair(pair.certificate, private)


BAD = {
    "of another key": (Pair(ONE.certificate, OTHER.private_key), "key values mismatch"),
    "encrypted": (encrypted(ONE), "are no certificate with its private key"),
    "empty": (Pair(b"", b""), "are no certificate with its private key"),
    "garbage": (Pair(b"\0\xff" * 100, ONE.private_key), "are no certificate with its private key"),
    "cut": (Pair(ONE.certificate[:200], ONE.private_key), "are no certificate with its private key"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_pair_is_told(tmp_path: Path, name: str) -> None:
    pair, reason = BAD[name]
    files = pair.write(tmp_path)
    with pytest.raises(CertificateUnusable, match=reason):
        Certificates(*files)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    certificate, private_key = ONE.write(tmp_path)
    private_key.unlink()
    with pytest.raises(CertificateUnusable, match=r"tls\.key can't be read: No such file"):
        Certificates(certificate, private_key)


@pytest.mark.parametrize("at", [0, 1])
def test_a_pipe_is_not_waited_for(tmp_path: Path, at: int) -> None:
    files = ONE.write(tmp_path)
    certificates = Certificates(*files)
    files[at].unlink()
    os.mkfifo(files[at])
    assert certificates.look() is None
    with pytest.raises(CertificateUnusable, match="it is no regular file"):
        Certificates(*files)
    OTHER.write(tmp_path)
    assert certificates.look() is not None


def test_a_certificate_that_has_expired_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return sum("has expired" in each.getMessage() for each in caplog.records)

    files = EXPIRED.write(tmp_path)
    certificates = Certificates(*files)
    assert certificates.look() is None
    assert told() == 1
    ONE.write(tmp_path)
    assert certificates.look() is not None
    assert told() == 1
    # At its start it was good.
    certificates._ends = datetime.now(UTC)
    assert certificates.look() is None
    assert certificates.look() is None
    assert told() == 2
    EXPIRED.write(tmp_path)
    assert certificates.look() is not None
    assert told() == 3


@pytest.mark.parametrize("name", BAD)
def test_a_pair_that_turns_bad_changes_nothing_and_is_told_once(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = ONE.write(tmp_path)
    certificates = Certificates(*files)
    assert certificates.look() is None
    BAD[name][0].write(tmp_path)
    assert certificates.look() is None
    assert certificates.look() is None
    [record] = [each for each in caplog.records if each.name == "gateway.server.certificates"]
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("; the certificate before stays in force")
    OTHER.write(tmp_path)
    assert certificates.look() is not None


def test_files_that_go_and_come_back_are_looked_at_again(tmp_path: Path) -> None:
    files = ONE.write(tmp_path)
    certificates = Certificates(*files)
    files[0].unlink()
    assert certificates.look() is None
    ONE.write(tmp_path)
    assert certificates.look() is not None


async def test_it_is_looked_at_while_the_gateway_runs(tmp_path: Path) -> None:
    certificates = Certificates(*ONE.write(tmp_path))
    before = certificates.context
    async with certificates.watched(0.01):
        OTHER.write(tmp_path)
        await eventually(lambda: certificates.context is not before)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"SERVER_SSL_CERTIFICATE": "a.pem"}, "SERVER_SSL_CERTIFICATE"),
        ({"SERVER_SSL_CERTIFICATE_PRIVATE_KEY": "a.pem"}, "SERVER_SSL_CERTIFICATE_PRIVATE_KEY"),
    ],
)
def test_one_without_the_other_stops_the_start(given: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match="a file only together with SERVER_SSL_CERTIFICATE") as error:
        Settings.from_env(given)
    assert error.value.variable == named


def environ_of(certificate: Path, private_key: Path) -> dict[str, str]:
    return {
        "SERVER_SSL_CERTIFICATE": str(certificate),
        "SERVER_SSL_CERTIFICATE_PRIVATE_KEY": str(private_key),
        "REDIS_URL": "redis://127.0.0.1:1",
        "JWT_JWKS_URI": "http://127.0.0.1:1/jwks.json",
    }


def test_the_check_tells_of_a_bad_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "routes.yaml").write_text("routes: []\n")
    environ = environ_of(*ONE.write(tmp_path))
    assert main(["check", str(tmp_path / "routes.yaml")], environ) == 0
    BAD["of another key"][0].write(tmp_path)
    assert main(["check", str(tmp_path / "routes.yaml")], environ) == 1
    assert "key values mismatch); `gateway serve` would not start" in capsys.readouterr().out


async def test_a_bad_pair_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text("routes: []\n")
    environ = environ_of(*BAD["of another key"][0].write(tmp_path))
    environ["ROUTES_FILE"] = str(tmp_path / "routes.yaml")
    async with gateway_process(environ, tmp_path, wait=False) as gateway:
        assert await gateway.ended() == 2
    said = [line for line in gateway.lines if line.startswith("SERVER_SSL_CERTIFICATE=")]
    assert len(said) == 1
    assert "SECRET" not in said[0]
    await asyncio.sleep(0)
