"""The keys of a service in a route file: a part of the model."""

from __future__ import annotations

from typing import Final

from gateway.routing.spec.shapes import Key, Keys, Listed, TextsOr
from gateway.routing.spec.tls import TLS_KEYS
from gateway.routing.spec.value_types import (
    BALANCE,
    CHECK_INTERVAL,
    CHECK_PATH,
    COUNT,
    DURATION,
    HASH_KEY,
    TEXT,
    TIME,
    decimal,
    whole,
)

INSTANCE: Final = Keys(
    "an instance",
    (
        Key("uri", TEXT, "http(s)://host:port.", required=True),
        Key("weight", whole(1), "Its share of the requests, compared with the others; 1 if missing."),
    ),
    null=False,
)

EJECT: Final = Keys(
    "eject",
    (
        Key("failures", whole(1), "After so many failures in a row an instance is left out; 5 if missing."),
        Key("time", DURATION, "For how long, and for that much longer each further time; 30s if missing."),
        Key("max", decimal(0, 1), "The largest share of the instances that is left out; 0.5 if missing."),
    ),
)

HEALTH: Final = Keys(
    "health",
    (
        Key(
            "path",
            CHECK_PATH,
            "What each instance is asked for: a status from 200 to 399 passes.",
            required=True,
        ),
        Key("interval", CHECK_INTERVAL, "How often; 10s if missing."),
        Key("timeout", DURATION, "For the whole answer; 2s if missing."),
        Key(
            "unhealthy",
            whole(1),
            "After so many failures in a row an instance gets no requests; 3 if missing.",
        ),
        Key("healthy", whole(1), "After so many passes in a row it gets some again; 2 if missing."),
    ),
    null=False,
)

SERVICE: Final = Keys(
    "a service",
    (
        Key(
            "instances",
            Listed(TextsOr(INSTANCE), alone=True),
            "http(s)://host:port, or uri and weight of each.",
        ),
        Key("balance", BALANCE, "round-robin if missing, least-requests or hash."),
        Key(
            "hash",
            HASH_KEY,
            "Requests that have this in common go to the same instance: header:NAME, cookie:NAME or user.",
        ),
        Key("health", HEALTH, "Checks the health of the instances."),
        Key("eject", EJECT, "Leaves out instances that fail."),
        Key(
            "slow-start",
            TIME,
            "Within this time the share of a new or recovered instance grows to its full size; 0: at once.",
        ),
        Key("max-connections", COUNT, "Requests that the service gets at a time, 0: no limit."),
        Key("max-waiting", COUNT, "Requests that wait for their turn then; more get 503. 100 if missing."),
        *(Key(name, of, doc, missing=(None,)) for name, (of, doc) in TLS_KEYS.items()),
    ),
    null=False,
)
