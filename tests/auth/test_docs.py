"""The pages about tokens are held against the code: their example runs, their figures are the ones in force."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.auth import identity, key_set, signatures, tokens
from gateway.auth.identity import identity_headers, signature_header
from gateway.auth.jwks import JwksTiming
from gateway.auth.tokens import Principal

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "auth.md").read_text(encoding="utf-8")
CHECKING = (DOCS / "how-to" / "protect-services.md").read_text(encoding="utf-8")
SECURITY = (DOCS / "reference" / "security.md").read_text(encoding="utf-8")
NOW = 1_700_000_000


@pytest.fixture(scope="module")
def check() -> Callable[..., bool]:
    """The function that the page shows."""
    blocks = re.findall(r"```python\n(.*?)```", CHECKING, re.DOTALL)
    assert len(blocks) == 1
    namespace: dict[str, Any] = {}
    exec(compile(blocks[0], "docs/how-to/protect-services.md", "exec"), namespace)
    function: Callable[..., bool] = namespace["came_through_the_gateway"]
    return function


def as_a_service_sees_it(
    principal: Principal | None, secret: str = "secret", visitor: str | None = None
) -> dict[str, str]:
    signed = signature_header(secret, NOW, "POST", "/x?a=%20b", principal, visitor)
    raw = (*identity_headers(principal, visitor), signed)
    return {name.decode(): value.decode("latin-1") for name, value in raw}


SOMEBODY = as_a_service_sees_it(Principal("user-1", "USER", 0.0))


@pytest.mark.parametrize(
    "principal", [None, Principal("user-1", "USER", 0.0), Principal("김철수", "", 0.0)], ids=ascii
)
@pytest.mark.parametrize("target", ["/x?a=%20b", b"/x?a=%20b"])
@pytest.mark.parametrize("visitor", [None, "A" * 22])
def test_the_example_accepts_what_the_gateway_signed(
    check: Callable[..., bool], principal: Principal | None, target: str | bytes, visitor: str | None
) -> None:
    headers = as_a_service_sees_it(principal, visitor=visitor)
    assert check("secret", "POST", target, headers, now=NOW + 5)
    assert not check("secret", "POST", target, headers | {"X-Visitor-Id": "B" * 22}, now=NOW + 5)
    without = {name: value for name, value in headers.items() if name != "X-Visitor-Id"}
    assert check("secret", "POST", target, without, now=NOW + 5) is (visitor is None)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"secret": "guess"}, "another secret"),
        ({"method": "GET"}, "another method"),
        ({"target": "/x?a=%20c"}, "another target"),
        ({"headers": SOMEBODY | {"X-User-Id": "admin"}}, "another user"),
        ({"headers": SOMEBODY | {"X-User-Type": "ADMIN"}}, "another type"),
        ({"headers": {"X-Gateway-Signature": SOMEBODY["X-Gateway-Signature"]}}, "the identity left out"),
        ({"headers": {}}, "no signature"),
        ({"headers": SOMEBODY | {"X-Gateway-Signature": "t=,v1="}}, "an empty signature"),
        ({"headers": SOMEBODY | {"X-Gateway-Signature": "nonsense"}}, "nonsense"),
        (
            {"headers": SOMEBODY | {"X-Gateway-Signature": "t=１７００００００００,v1=00"}},
            "digits beyond ASCII",
        ),
        ({"headers": SOMEBODY | {"X-Gateway-Signature": f"t={NOW},v1=ÿ"}}, "a signature beyond ASCII"),
        ({"now": NOW + 61}, "too old"),
        ({"now": NOW - 61}, "from the future"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_example_refuses_everything_else(
    check: Callable[..., bool], changed: dict[str, Any], why: str
) -> None:
    honest = {"secret": "secret", "method": "POST", "target": "/x?a=%20b", "headers": SOMEBODY, "now": NOW}
    assert check(**honest)
    assert not check(**(honest | changed))


@pytest.mark.parametrize(
    "text",
    [
        f"at most {tokens.MAX_TOKEN_CHARS:,} characters",
        f"past by less than {tokens.LEEWAY_SECONDS:.0f} s",
        f"1 to {tokens.MAX_NAME_BYTES} bytes",
        f"{tokens._TOKEN_CACHE_SIZE:,} tokens",
        f"every {JwksTiming().refresh / 60:.0f} minutes",
        f"once in {JwksTiming().unknown_kid:.0f} s",
        f"{JwksTiming().retry_with_keys:.0f} s otherwise",
        f"{key_set.MAX_DOCUMENT_BYTES // 1024} KiB and {key_set.MAX_KEYS}",
        *(f"`{algorithm}`" for algorithm in sorted(signatures.ALGORITHMS)),
    ],
)
def test_the_figures_are_those_in_force(text: str) -> None:
    assert text in re.sub(r"\s+", " ", PAGE)


def test_every_header_that_names_another_call_is_listed() -> None:
    section = SECURITY.partition("### Headers that name another call\n")[2].partition("\n- ")[0]
    listed = {
        identity._letters(name.encode())
        for cell in re.findall(r"^\| (`[^|]+) \|", section, re.M)
        for name in re.findall(r"`([^`]+)`", cell)
    }
    of_the_caller = (
        identity.USER_ID,
        identity.USER_TYPE,
        identity.VISITOR_ID,
        identity.SIGNATURE,
        identity.PASS,
        identity.ROOM,
    )
    assert listed == identity._RESERVED - set(map(identity._letters, of_the_caller))
