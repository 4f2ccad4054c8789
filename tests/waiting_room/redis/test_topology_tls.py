"""Sentinels and a cluster that speak TLS only, with an authority of the test's own."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis as sync_redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.errors import QueueUnavailable, SettingsError
from gateway.settings.model import Settings
from gateway.waiting_room.redis.connection import Redis
from tests.support.redis_fleet import HOST, PATIENCE, SERVICE, cluster_fact, free_port, until
from tests.support.redis_server import RedisServer, chosen_executable
from tests.support.waiting import eventually

TIMEOUT = 10.0

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ca.pem``, and ``cert.pem`` and ``key.pem`` for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=key is by, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False
            )
            .sign(by, hashes.SHA256())
        )
        return built.public_bytes(serialization.Encoding.PEM)

    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (folder / "ca.pem").write_bytes(certificate("authority", authority, authority))
    (folder / "cert.pem").write_bytes(certificate(HOST, server, authority))
    (folder / "key.pem").write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder


def tls_options(folder: Path, port: int) -> dict[str, str]:
    """What a server needs, by the names that its configuration has."""
    return {
        "port": "0",
        "bind": HOST,
        "tls-port": str(port),
        "tls-ca-cert-file": str(folder / "ca.pem"),
        "tls-cert-file": str(folder / "cert.pem"),
        "tls-key-file": str(folder / "key.pem"),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }


@pytest.fixture
def tls_server(certificates: Path) -> Iterator[tuple[int, RedisServer]]:
    """A node of a cluster with all slots, reachable by TLS; also a master that a sentinel may watch."""
    port = free_port()
    options = tls_options(certificates, port) | {"cluster-enabled": "yes", "tls-cluster": "yes"}
    server = RedisServer(*(part for name, text in options.items() for part in (f"--{name}", text)))
    with ExitStack() as stack:
        try:
            stack.enter_context(server)
        except RuntimeError as error:
            server.__exit__()
            if "tls-" in str(error):
                pytest.skip("this redis-server knows no TLS")
            raise
        yield port, server


async def said_by(url: str, *command: str) -> object:
    link = Redis(url, TIMEOUT).link(key="k")
    try:
        return await link.call(*command)
    finally:
        await link.close()


async def test_the_older_systems_names_lead_to_tls_their_user_and_their_database(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    options = tls_options(certificates, port)
    with ExitStack() as stack:
        server = RedisServer(*(part for name, text in options.items() for part in (f"--{name}", text)))
        try:
            stack.enter_context(server)
        except RuntimeError as error:
            server.__exit__()
            if "tls-" in str(error):
                pytest.skip("this redis-server knows no TLS")
            raise
        with sync_redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "app", "on", ">p@ss", "~*", "+@all")
        environ = {
            "SPRING_DATA_REDIS_HOST": HOST,
            "SPRING_DATA_REDIS_PORT": str(port),
            "SPRING_DATA_REDIS_DATABASE": "3",
            "SPRING_DATA_REDIS_USERNAME": "app",
            "SPRING_DATA_REDIS_PASSWORD": "p@ss",
            "SPRING_DATA_REDIS_SSL_ENABLED": "true",
        }
        url = Settings.from_env(environ).redis_url
        # Only who knows the authority believes the server.
        with pytest.raises(QueueUnavailable, match="ConnectionError"):
            await said_by(url, "PING")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
        assert await said_by(url, "ACL", "WHOAMI") == b"app"
        assert b" db=3 " in bytes(await said_by(url, "CLIENT", "INFO"))  # type: ignore[call-overload]
        # The server speaks nothing but TLS.
        plain = Settings.from_env(environ | {"SPRING_DATA_REDIS_SSL_ENABLED": "false"}).redis_url
        with pytest.raises(QueueUnavailable):
            await said_by(plain, "PING")


async def test_certificates_that_can_not_be_read_stop_the_start(tmp_path: Path) -> None:
    for parameter in (f"ssl_ca_certs={tmp_path}/none.pem", "ssl_cert_reqs=perhaps", "ssl_min_version=7"):
        for form in (f"rediss://h?{parameter}", f"rediss+sentinel://h/tickets?{parameter}"):
            with pytest.raises(SettingsError, match="ssl_"):
                Redis(form, TIMEOUT)


async def test_a_cluster_over_tls(certificates: Path, tls_server: tuple[int, RedisServer]) -> None:
    port, server = tls_server
    with sync_redis.Redis.from_url(server.url, decode_responses=True, protocol=2) as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        until(lambda: cluster_fact(client, "cluster_state") == "ok", "a cluster")
    url = f"rediss+cluster://{HOST}:{port}"
    ca = f"?ssl_ca_certs={certificates / 'ca.pem'}"
    assert await said_by(url + ca, "SET", "k", "v") == b"OK"
    # Whoever can't prove who they are is not believed.
    with pytest.raises(QueueUnavailable, match="ConnectionError"):
        await said_by(url, "GET", "k")


async def test_sentinels_over_tls(
    certificates: Path, tls_server: tuple[int, RedisServer], tmp_path: Path
) -> None:
    master_port, _ = tls_server
    port = free_port()
    lines = [f"{name} {text}" for name, text in tls_options(certificates, port).items()]
    file = tmp_path / "sentinel.conf"
    file.write_text("\n".join([*lines, f"sentinel monitor {SERVICE} {HOST} {master_port} 1", ""]))
    sentinel = subprocess.Popen(
        [chosen_executable(), file, "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ca = f"ssl_ca_certs={certificates / 'ca.pem'}"
        url = f"rediss+sentinel://{HOST}:{port}/{SERVICE}?{ca}"

        async def role() -> object:
            try:
                return await said_by(url, "ROLE")
            except QueueUnavailable:
                return None

        said = await eventually(role, PATIENCE, "a master")
        assert said[0] == b"master"
    finally:
        sentinel.kill()
        sentinel.wait(10)
