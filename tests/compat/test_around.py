"""Tokens, metrics, traces, pages and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.auth.encoding import decode_base64url
from gateway.auth.key_set import parse_key_set
from tests.compat.rig import ROUTES, a_site
from tests.support.certificates import certificate
from tests.support.collector import a_collector
from tests.support.tokens import Issuer, b64, private_pem


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_tokens_are_checked(tmp_path: Path, redis_url: str, algorithm: str) -> None:
    async with a_site(tmp_path, redis_url, algorithms=[algorithm]) as site:
        issuer = site.issuer
        assert (await site.user("user-1").lineup()).status == 200
        forger = Issuer(algorithm=algorithm, key=99, kid=issuer.kid)
        payload = issuer.token().split(".")[1]
        none = b64(b'{"alg":"none"}')
        tokens = {
            issuer.token(): 200,
            issuer.token(exp=1): 401,
            issuer.token(sub=None): 401,
            forger.token(): 401,
            issuer.token(headers={"alg": "HS256"}): 401,
            f"{none}.{payload}.": 401,
            issuer.token()[:-8]: 401,
            "x": 401,
        }
        assert {token: (await site.bearer(token).status()).status for token in tokens} == tokens
        issuer.rotate()
        assert (await site.user("user-1").status()).status == 200


@pytest.mark.parametrize("algorithm", ["RS256", "ES384", "EdDSA"])
def test_keys_are_taken_from_certificates(algorithm: str) -> None:
    key = {"RS256": {"kty": "RSA"}, "ES384": {"kty": "EC"}, "EdDSA": {"kty": "OKP"}}[algorithm]
    document = {"keys": [key | {"kid": "a", "x5c": [certificate(private_pem(algorithm, 0))]}]}
    found = parse_key_set(json.dumps(document).encode(), (algorithm,)).keys["a"][algorithm]
    signed, _, signature = Issuer(algorithm=algorithm).token().encode().rpartition(b".")
    assert found.verify(signed, decode_base64url(signature))


async def test_metrics_and_traces(tmp_path: Path, redis_url: str) -> None:
    async with (
        a_collector() as collector,
        a_site(tmp_path, redis_url, ZIPKIN_ENDPOINT=collector.url, TRACING_SAMPLING_PROBABILITY="1") as site,
    ):
        await site.user("someone").lineup()
        assert (await site.bearer(None)("GET", "/shop/x")).status == 200
        for media_type in ("text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"):
            page = await site.bearer(None)("GET", "/actuator/prometheus", headers={"Accept": media_type})
            assert page.headers["Content-Type"].startswith(media_type.partition(";")[0])
            names = {
                line.split(" ")[2] for line in page.body.decode().splitlines() if line.startswith("# TYPE")
            }
            assert any(name.startswith("gateway_requests") for name in names)
        plain = await site.bearer(None)("GET", "/actuator/prometheus", headers={"Accept": "text/plain"})
        families = {family.name: family for family in text_string_to_metric_families(plain.body.decode())}
        samples = families["gateway_requests_seconds"].samples
        assert sum(sample.value for sample in samples if sample.name.endswith("_count")) >= 4
        await collector.until(lambda spans: any(span.get("kind") == "CLIENT" for span in spans))
        assert {span["localEndpoint"]["serviceName"] for span in collector.spans} == {"gateway-server"}


async def test_pages_of_documents(tmp_path: Path, redis_url: str) -> None:
    async with a_site(tmp_path, redis_url) as site:
        caller = site.bearer(None)
        for path in ("/swagger-ui/index.html", "/swagger-ui/swagger-ui-bundle.js", "/v3/api-docs"):
            answer = await caller("GET", path)
            assert (path, answer.status, len(answer.body) > 100) == (path, 200, True)


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES % "http://127.0.0.1:1")
    for arguments in (["check"], ["routes", "--match", "POST /buy/x"], ["--version"]):
        done = _gateway(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_demo(tmp_path: Path) -> None:
    done = _gateway("demo", "--people", "20", "--capacity", "10", "--seconds", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def _gateway(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "gateway", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
