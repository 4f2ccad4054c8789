"""What the gateway does otherwise than the original, by name.

docs/reference/migration.md has the reason under the same name.
"""

from __future__ import annotations

from tests.original.comparison import ABSENT, Known

ANY = ("*", "*")
NEW = (ABSENT, "?*")
GONE = ("?*", ABSENT)
ALL = ("*",)

# Where an answer's status differs, so do its body and what describes that.
ANOTHER_ANSWER = {"body*": ANY, "header content-type": ANY}


def _status(original: int, ours: int) -> dict[str, tuple[str, str]]:
    return {"status": (str(original), str(ours)), **ANOTHER_ANSWER}


STAYS: list[Known] = [
    # --- every answer ---
    Known("The trace's name", ALL, {"header x-trace-id": NEW, "body.traceId": NEW}),
    Known(
        "The charset of JSON",
        ALL,
        {"header content-type": ("application/json", "application/json; charset=utf-8")},
    ),
    # --- refusals ---
    Known(
        "No token",
        ALL,
        {
            "body.error.code": ('"USER_ID_REQUIRED"', '"TOKEN_REQUIRED"'),
            "body.error.message": ANY,
            "header www-authenticate": (ABSENT, "Bearer"),
        },
    ),
    Known("The text beside an error", ALL, {"body.message": NEW}),
    Known(
        "A token that is no good",
        ("tokens/private-*", "tokens/unknown-expired", "queue/status-expired"),
        {
            "header www-authenticate": ("Bearer error=*", "Bearer error=*"),
            "header content-type": NEW,
            "body*": ANY,
        },
    ),
    Known(
        "A token without `sub`",
        ("tokens/private-no-subject",),
        {
            "status": ("200", "401"),
            "body*": ANY,
            "header www-authenticate": NEW,
            "reached": GONE,
        },
    ),
    Known(
        "A bad token on a public call",
        ("tokens/public-expired", "tokens/public-forged", "tokens/public-garbage", "tokens/refresh-expired"),
        {**_status(401, 200), "header www-authenticate": GONE, "header vary": ANY, "reached": NEW},
    ),
    Known(
        "A bad token on a public call",
        ("tokens/actuator-expired",),
        {**_status(401, 200), "header www-authenticate": GONE},
    ),
    Known(
        "An unknown path",
        (
            "routes/unknown-user",
            "routes/unknown-post-user",
            "routes/root-user",
            "routes/locator-capitals",
            "cors/simple-unknown-user",
            "queue/status-slash",
            "queue/unknown-call",
            "queue/gate-capitals",
            "actuator/*-not-exposed",
            "actuator/info-slash",
        ),
        _status(500, 404),
    ),
    Known(
        "An unknown path",
        (
            "actuator/health-unknown",
            "actuator/metric-unknown",
            "actuator/metric-tag-none",
            "actuator/route-unknown",
        ),
        {"body*": NEW, "header content-type": NEW},
    ),
    Known("`/health/**`", ("routes/health-path",), {**_status(500, 401), "header www-authenticate": NEW}),
    Known(
        "A wrong method",
        (
            "queue/method-get-lineup",
            "queue/method-post-status",
            "queue/method-put-status",
            "queue/method-delete-stream",
        ),
        {**_status(500, 405), "header allow": NEW},
    ),
    Known("A wrong method", ("actuator/health-post",), {**_status(500, 405), "header allow": NEW}),
    Known("A wrong method", ("queue/method-none",), {**_status(401, 405), "header allow": NEW}),
    Known(
        "A wrong method",
        ("queue/method-options-status",),
        {**_status(200, 405), "header allow": ANY},
    ),
    Known(
        "A path that is refused",
        ("routes/encoded-slash", "routes/matrix", "routes/double-slash", "routes/dots"),
        {**ANOTHER_ANSWER, "header *": NEW},
    ),
    Known("No instance", ("routes/no-instance",), _status(500, 503)),
    Known(
        "A service that can't be reached",
        ("routes/instance-refuses", "routes/service-hangs-up"),
        _status(500, 502),
    ),
    Known(
        "A service that hangs up",
        ("routes/service-hangs-up",),
        {"reached": ("arthall GET /api/v1/arthalls/gone", "arthall GET * + arthall GET *")},
        sometimes=True,
    ),
    # --- open calls ---
    Known(
        "`HEAD` of a public call",
        ("routes/product-head",),
        {"status": ("401", "200"), "header content-type": ANY, "header vary": NEW, "reached": NEW},
    ),
    Known("The key set", ("routes/keys",), {**_status(401, 200), "header vary": NEW, "reached": NEW}),
    Known("Services' documents", ("routes/docs-user",), _status(401, 503)),
    Known("Services' documents", ("routes/docs-payment",), _status(401, 502)),
    Known("Services' documents", ("routes/docs-product",), {"sent accept-encoding": (ABSENT, "identity")}),
    # --- pages of other origins ---
    Known(
        "Preflights",
        (
            "cors/preflight-public",
            "cors/preflight-private",
            "cors/preflight-gated",
            "cors/preflight-queue",
            "cors/preflight-method",
        ),
        {
            **_status(401, 200),
            "header access-control-allow-methods": NEW,
            "header access-control-allow-origin": NEW,
        },
    ),
    Known(
        "Preflights",
        ("cors/preflight-gated", "cors/preflight-queue"),
        {"header access-control-allow-headers": NEW},
    ),
    Known("Preflights", ("cors/preflight-unknown",), _status(401, 200)),
    Known("Preflights", ("cors/preflight-actuator",), {**_status(200, 405), "header allow": NEW}),
    Known(
        "CORS on the gateway's own answers",
        ("cors/simple-private-none", "queue/status-origin", "queue/gate-waiting-origin"),
        {"header access-control-allow-origin": (ABSENT, "[*]")},
    ),
    Known(
        "CORS on the gateway's own answers",
        ALL,
        {"header vary": (ABSENT, "*Access-Control-Request-Headers*Origin*")},
    ),
    Known(
        "Services' own CORS headers",
        ("cors/simple-service-has-own", "cors/no-origin-service-has-own"),
        {"header access-control-allow-credentials": GONE, "header access-control-expose-headers": GONE},
    ),
    Known(
        "Services' own CORS headers",
        ("cors/no-origin-service-has-own",),
        {"header access-control-allow-origin": GONE},
    ),
    # --- the gate ---
    Known(
        "Other spellings of a gated call",
        ("queue/gate-slash", "queue/gate-encoded", "queue/gate-locator"),
        {"status": ("200", "403"), "body*": ANY, "reached": GONE},
    ),
    Known(
        "Waiting at the gate",
        ("queue/gate-waiting", "queue/gate-waiting-origin", "queue/gate-seats-waiting"),
        {"body.success": ("true", "false"), "body.error.*": NEW, "header retry-after": NEW},
    ),
    # --- the queue ---
    Known(
        "What the queue tells besides",
        ("queue/*",),
        {
            "body.state": NEW,
            "body.room": NEW,
            "body.expiresInSeconds": NEW,
            "body.data.*": NEW,
        },
    ),
    Known(
        "A user without a place",
        ("queue/status-not-in-queue", "queue/status-left"),
        {"body.error.code": ('"USER_ID_NOT_FOUND"', '"NOT_IN_QUEUE"'), "body.error.message": ANY},
    ),
    Known(
        "Deleting what isn't there",
        ("queue/delete-slot-of-none", "queue/delete-place-of-none"),
        _status(200, 404),
    ),
    Known("The client's language", ("queue/lineup-english",), {"body.message": ("*", '"You are in line."')}),
    Known("What `Accept` asks of the queue", ("queue/status-html",), _status(406, 200)),
    Known("What `Accept` asks of the queue", ("queue/stream-json",), _status(500, 200)),
    Known(
        "Streams",
        ("queue/stream-*",),
        {
            "header x-accel-buffering": (ABSENT, "no"),
            "header content-type": ("text/event-stream;charset=UTF-8", "text/event-stream"),
        },
    ),
    # --- what services see ---
    Known(
        "The client's address",
        ALL,
        {
            "sent forwarded": NEW,
            "sent x-forwarded-for": NEW,
            "sent x-forwarded-host": NEW,
            "sent x-forwarded-port": NEW,
            "sent x-forwarded-proto": NEW,
            "sent x-real-ip": NEW,
        },
    ),
    Known(
        "The client's address",
        ("headers/forwarded",),
        {
            "sent x-forwarded-for": ("203.0.113.9", "127.0.0.1"),
            "sent x-forwarded-host": ("tickets.example.com", "127.0.0.1:{gateway}"),
            "sent x-forwarded-port": ("443", "{gateway}"),
            "sent x-forwarded-proto": ("https", "http"),
            "sent x-forwarded-prefix": GONE,
        },
    ),
    Known(
        "The client's address",
        ("headers/forwarded-rfc",),
        {"sent forwarded": ("for=203.0.113.9*", "proto=http;*for=127.0.0.1")},
    ),
    Known("The client's address", ("headers/real-ip",), {"sent x-real-ip": ("203.0.113.9", "127.0.0.1")}),
    Known("The room of a gated call", ("queue/gate-*",), {"sent x-queue-room": (ABSENT, "default")}),
    Known(
        "Traces",
        ALL,
        {"sent traceparent": (ABSENT, "00-{trace}-{span}-01")},
    ),
    Known("Traces", ("headers/trace-b3",), {"sent b3": GONE}),
    Known("Loops", ALL, {"sent via": (ABSENT, "1.1 gateway-server")}),
    Known("Loops", ("headers/via",), {"sent via": ("1.1 shop", "1.1 gateway-server | 1.1 shop")}),
    Known(
        "What the client did not send",
        ALL,
        {"sent accept": ("[*]/[*]", ABSENT), "sent user-agent": ("ReactorNetty/*", ABSENT)},
    ),
    # --- management ---
    Known(
        "Components of health",
        ("actuator/health", "actuator/health-redis", "actuator/health-slash", "actuator/health-json"),
        {"body.*": ANY},
    ),
    Known("Links and info", ("actuator/links", "actuator/info", "actuator/info-[!s]*"), {"body.*": ANY}),
    Known("Reading routes anew", ("actuator/gateway-refresh",), _status(200, 404)),
    Known("What is done to every call", ("actuator/globalfilters",), {"body.*": ANY}),
    Known(
        "Descriptions of metrics",
        ("actuator/metric-requests", "actuator/metric-tag"),
        {"body.description": NEW},
    ),
    Known(
        "The media types of metrics",
        ("actuator/prometheus*",),
        {"header content-type": ("*;charset=utf-8", "*; charset=utf-8")},
    ),
    Known(
        "The page of documents",
        ("actuator/documents", "actuator/documents-config"),
        {"header content-security-policy": NEW},
    ),
    Known(
        "The page of documents",
        ("actuator/swagger", "actuator/documents"),
        {"header cache-control": ("*", "no-cache"), "header expires": GONE, "header pragma": GONE},
    ),
    Known(
        "The page of documents",
        ("actuator/documents-config",),
        {"body.operationsSorter": GONE, "body.tagsSorter": GONE},
    ),
    Known(
        "The page of documents",
        ("actuator/documents",),
        {"body.tags": NEW, "header etag": NEW, "header vary": NEW},
    ),
    Known(
        "Located routes",
        (
            "table/ReactiveCompositeDiscoveryClient_*-SERVICE",
            "table/ReactiveCompositeDiscoveryClient_*-SERVER",
        ),
        {"route": GONE},
    ),
    Known(
        "Located routes",
        (
            "table/ReactiveCompositeDiscoveryClient_*-service",
            "table/ReactiveCompositeDiscoveryClient_config-server",
        ),
        {"route": NEW},
    ),
]
