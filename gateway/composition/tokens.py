"""The key set and the verifier for tokens, kept up to date with the settings and a Config Server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import aiohttp

from gateway.auth.discovery import IssuerLocation, http_fetch
from gateway.auth.jwks import Jwks
from gateway.auth.tokens import TokenVerifier
from gateway.composition.live_settings import TokenSettings, is_address, token_settings
from gateway.observability.metrics import Metrics
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Tokens:
    """The key set and the verifier; ``follow`` updates them from a new route table."""

    jwks: Jwks
    verifier: TokenVerifier
    follow: Callable[[RouteTable], None]


@contextlib.asynccontextmanager
async def checking_tokens(
    settings: Settings,
    environ: Mapping[str, str],
    table: RouteTable,
    session: aiohttp.ClientSession,
    metrics: Metrics,
) -> AsyncIterator[Tokens]:
    """Keeps the keys up to date until the block ends."""
    in_force = token_settings(settings, environ, table)
    jwks = Jwks(_source(in_force), in_force.algorithms, http_fetch(session), on_fetch=metrics.jwks_fetched)
    verifier = TokenVerifier(
        jwks,
        issuer=in_force.issuer,
        audience=in_force.audiences,
        user_type_claim=settings.jwt_user_type_claim,
    )
    verifier.set_wanted_claims(table.wanted_claims())

    def follow(new: RouteTable) -> None:
        nonlocal in_force
        wanted = token_settings(settings, environ, new)
        if wanted != in_force:
            in_force = wanted
            jwks.set_source(_source(wanted), wanted.algorithms)
            verifier.set_expected(wanted.issuer, wanted.audiences)
        verifier.set_wanted_claims(new.wanted_claims())

    async with jwks.running():
        yield Tokens(jwks, verifier, follow)


def _source(wanted: TokenSettings) -> str | IssuerLocation:
    """The source of the keys: the address that is set, else the one that the issuer's document names."""
    if wanted.keys is not None:
        return wanted.keys
    return IssuerLocation(wanted.issuer) if wanted.issuer and is_address(wanted.issuer) else ""
