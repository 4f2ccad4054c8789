"""A key set without a network."""

from __future__ import annotations

import json

from gateway.auth.jwks import JwksTiming
from tests.support.tokens import Issuer

# No periodic refresh and no retry within a test's life.
STILL = JwksTiming(refresh=900, first_retry=900, retry_without_keys=900, retry_with_keys=900)


class Source:
    """An issuer's key set without a network, with a count of the fetches."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.fetches = 0

    async def __call__(self, _uri: str) -> bytes:
        self.fetches += 1
        return json.dumps(self.issuer.jwks()).encode()
