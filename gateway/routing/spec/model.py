"""The model of a route file: every section and key, with its type and its description.

This is the only list of them. The readers refuse other keys and read single values by these types, and ``gateway
schema`` prints the list as a JSON Schema. ``kinds`` describes predicates and filters in the same way.
"""

from __future__ import annotations

from typing import Final

from gateway.pages.waiting_page.texts import LANGUAGES
from gateway.routing.spec.defaults import SECURE_HEADERS, SWITCHES
from gateway.routing.spec.document import plain_name
from gateway.routing.spec.service_keys import SERVICE
from gateway.routing.spec.shapes import Definitions, Key, Keys, Listed, MapOf, Texts, TextsOr, Truth
from gateway.routing.spec.tls import TLS_KEYS
from gateway.routing.spec.value_types import (
    CAPACITY,
    CHALLENGE_TIMEOUT,
    COLOUR,
    COUNT,
    DURATION,
    FAIL,
    FLAG,
    GATE_ROOM,
    HTTP_ADDRESS,
    IDENTITY,
    LANE_NAME,
    LINEUP,
    LINEUPS,
    MAX_AGE,
    MODE,
    MOMENT,
    OPENING_ORDER,
    ORDER,
    OWN_PATH,
    PAGE_STATUS,
    PLACES,
    RATE,
    RELINEUP,
    ROOM_ENTRY,
    ROOM_NAME,
    SHARE,
    TEXT,
    TIME,
    TIMEOUT,
    WEBSOCKET,
)

CORS_RULE: Final = Keys(
    "a CORS rule",
    (
        Key("allowedOrigins", Texts(), "Origins, scheme://host[:port]; * for all."),
        Key("allowedOriginPatterns", Texts(), "Origins with *, and with ports as in :[8080,8081]."),
        Key("allowedMethods", Texts(), "Methods; GET and HEAD if missing."),
        Key("allowedHeaders", Texts(), "Headers that a page may send."),
        Key("exposedHeaders", Texts(), "Headers that a page may read."),
        Key("allowCredentials", FLAG, "Whether a page may send cookies and tokens."),
        Key("allowPrivateNetwork", FLAG, "Whether a public page may call a private network."),
        Key("maxAge", MAX_AGE, "How long a browser keeps this, in seconds or as 30m."),
    ),
    null=False,
)

METADATA: Final = Keys(
    "metadata",
    (
        Key(
            "response-timeout",
            TIMEOUT,
            "Milliseconds until the answer begins; negative: no limit.",
            missing=(None,),
        ),
        Key("connect-timeout", TIMEOUT, "Milliseconds to connect; negative: no limit.", missing=(None,)),
        *(Key(name, of, doc, missing=(None,)) for name, (of, doc) in TLS_KEYS.items()),
        Key("cors", CORS_RULE, "What pages of other origins may do on this route.", missing=(None,)),
        Key(
            "allow-actuator", Truth(), "Whether this route may lead to paths below /actuator of the service."
        ),
    ),
    others=True,
)

ROUTE: Final = Keys(
    "a route",
    (
        Key("id", TEXT, "Unique; the label of metrics and logs. route-N by position if it is missing."),
        Key("uri", TEXT, "lb://service, or http(s)://host[:port].", required=True),
        Key(
            "predicates",
            Definitions("predicates"),
            "Conditions that must all hold; at least one.",
            required=True,
        ),
        Key("filters", Definitions("filters"), "What the route changes, in order."),
        Key(
            "order",
            ORDER,
            "Routes are asked by it, the lowest first, then as they stand; 0 if missing.",
            missing=("", None),
        ),
        Key("metadata", METADATA, "Time limits, CORS, and whatever else you like."),
        Key("enabled", FLAG, "false leaves the route out.", missing=("", None)),
    ),
    dotted=True,
    null=False,
    shortcut="=[^,]*,.",
)

GATE: Final = Keys(
    "a gate",
    (
        Key(
            "room",
            GATE_ROOM,
            "The room of which a place is needed; default if missing. concert-{productId} is filled from the path of "
            "the call, concert-{query.productId} from its query.",
        ),
        Key("calls", Texts(), "Calls that need a place: METHOD /path, or /path for every method."),
        Key("renews", Texts(), "Calls that renew a session without needing one."),
        Key(
            "websocket",
            WEBSOCKET,
            "outlive: WebSockets go on after the session that let them in; end: they end with it. end if missing.",
        ),
    ),
)

ACCESS: Final = Keys(
    "access",
    (
        Key(
            "public", Texts(), "Calls that are open without a token: METHOD /path, or /path for every method."
        ),
        Key("defaults", FLAG, "Of earlier versions; has no effect."),
    ),
)

PREQUEUE: Final = Keys(
    "a pre-queue",
    (
        Key("from", DURATION, "How long before opens_at users may register, as 30m.", required=True),
        Key("order", OPENING_ORDER, "draw, or arrival: in the order of registration; arrival if missing."),
        Key("beacon", TEXT, "The name of the public random value that the draw waits for."),
    ),
    null=False,
)

BYPASS: Final = Keys(
    "a bypass",
    (
        Key("name", ROOM_NAME, "Unique in the room; a label of gateway_room_bypassed_total.", required=True),
        Key(
            "claim", TEXT, "The claim of a verified token that decides; a path with dots leads into objects."
        ),
        Key("values", Texts(), "Its values, of which one must match."),
        Key("networks", Texts(), "Networks of clients, instead of a claim: 10.9.0.0/16, or an address."),
    ),
)

ELIGIBLE: Final = Keys(
    "eligible",
    (
        Key(
            "claim", TEXT, "The claim of a verified token that decides; a path with dots leads into objects."
        ),
        Key("values", Texts(), "Its values, of which one must match."),
    ),
)

LANE: Final = Keys(
    "a lane",
    (
        Key("name", LANE_NAME, "Unique in the room; shown to users.", required=True),
        Key("share", SHARE, "Its share of the admissions while users wait in all lanes.", required=True),
        Key(
            "claim", TEXT, "The claim of a verified token that decides; a path with dots leads into objects."
        ),
        Key("values", Texts(), "Its values, of which one must match."),
    ),
)

CHALLENGE: Final = Keys(
    "challenge",
    (
        Key("url", HTTP_ADDRESS, "Where the gateway POSTs room, visitor and address.", required=True),
        Key("timeout", CHALLENGE_TIMEOUT, "How long the service may take, up to 5 s; 2 s if missing."),
        Key("fail", FAIL, "What happens if it does not answer: open, or closed; open if missing."),
    ),
)

PAGE: Final = Keys(
    "page",
    (
        Key("title", TEXT, "The name of what people wait for."),
        Key("logo", TEXT, "A file with an image of at most 8 KB: SVG, PNG, JPEG, WebP or GIF."),
        Key(
            "colour",
            COLOUR,
            "The colour of buttons; its contrast with white must be at least 4.5:1.",
            missing=(None,),
        ),
        Key(
            "text",
            MapOf(TEXT, "|".join(LANGUAGES)),
            "A text of your own by language, shown while people wait.",
        ),
        Key("template", TEXT, "A file with a frame of your own round the page, in Jinja's syntax."),
        Key("status", PAGE_STATUS, "The status of the page while people wait; 503 if missing."),
        Key(
            "login",
            OWN_PATH,
            "Where browsers without a token are sent; they get 401 if missing.",
            missing=(None,),
        ),
    ),
)

ROOM: Final = Keys(
    "a room",
    (
        Key(
            "capacity",
            CAPACITY,
            "How many users are allowed in at a time; ALLOWED_IN_MAX_CAPACITY if missing.",
        ),
        Key("duration", DURATION, "Length of a session; ALLOWED_IN_DURATION_SECONDS if missing."),
        Key(
            "absent",
            TIME,
            "How long a waiting user may be out of sight before being parked, 0: for ever; QUEUE_ABSENT_SECONDS if "
            "missing.",
        ),
        Key("hold", TIME, "How long a parked user keeps the ticket; QUEUE_HOLD_SECONDS if missing."),
        Key(
            "max_session",
            TIME,
            "How long after admission a session ends, however active the user is, 0: never; "
            "QUEUE_MAX_SESSION_SECONDS if missing.",
        ),
        Key(
            "claim",
            TIME,
            "Within this time a user admitted from the line must make a gated call, 0: off; QUEUE_CLAIM_SECONDS if "
            "missing.",
        ),
        Key("rate", RATE, "Admissions never exceed it, as 120/m; QUEUE_RATE if missing."),
        Key(
            "history",
            TIME,
            "How long the room remembers what happened to a user after slot or place ended, 0: not at all; "
            "QUEUE_HISTORY_SECONDS if missing.",
        ),
        Key(
            "relineup",
            RELINEUP,
            "What lining up again does to a waiting user: back, or keep the place; QUEUE_RELINEUP if missing.",
        ),
        Key(
            "lineup",
            LINEUP,
            "What the gate does with a user without a place: explicit refuses the call, implicit lines the user up; "
            "QUEUE_LINEUP if missing.",
        ),
        Key(
            "max_waiting",
            COUNT,
            "With so many users in line, parked and registered no other user joins the line, 0: no bound; "
            "QUEUE_MAX_WAITING if missing.",
        ),
        Key(
            "lineups_per_minute",
            LINEUPS,
            "How often a user may line up in any 60 s, 0: no bound; QUEUE_LINEUPS_PER_MINUTE if missing.",
        ),
        Key(
            "mode",
            MODE,
            "on; off: everyone is allowed in; observe: the gate lets everyone pass, and counts; QUEUE_MODE if missing.",
        ),
        Key(
            "opens_at", MOMENT, "Before this moment the room takes no lineups, as 2026-12-01T20:00:00+09:00."
        ),
        Key("closes_at", MOMENT, "From this moment on the room takes no lineups."),
        Key(
            "prequeue", PREQUEUE, "Users register before the room opens, and are put in line at the opening."
        ),
        Key(
            "identity",
            IDENTITY,
            "Who may have a place: users with a token, visitors without a login, or either; token if missing.",
        ),
        Key("bypass", Listed(BYPASS), "Who passes the gate without a place."),
        Key("lanes", Listed(LANE), "Lines of their own with shares of the admissions, beside lane default."),
        Key("eligible", ELIGIBLE, "Who may line up; others need an invitation."),
        Key(
            "places_per_address",
            PLACES,
            "How many visitors at one address (or IPv6 /64) may have a place at a time, 0: no bound; 0 if missing.",
        ),
        Key("challenge", CHALLENGE, "The service that is asked before a visitor gets a place."),
        Key("page", PAGE, "Browsers that have to wait get a page. An empty mapping, {}, is enough."),
    ),
)

CORS: Final = Keys(
    "cors",
    (
        Key("cors-configurations", MapOf(CORS_RULE), "Rules by path pattern, as in '[/**]'."),
        Key(
            "add-to-simple-url-handler-mapping", FLAG, "Whether they are also for calls that no route takes."
        ),
    ),
)

LOCATOR: Final = Keys(
    "discovery.locator",
    (
        Key("enabled", FLAG, "Whether there is a route for every service that is known.", missing=(None,)),
        Key(
            "lower-case-service-id",
            FLAG,
            "Accepted; names of services are in small letters anyway.",
            missing=(None,),
        ),
        Key("include-expression", FLAG, "false makes no routes.", missing=(None,)),
        Key("route-id-prefix", TEXT, "What the ids of these routes begin with."),
        Key(
            "url-expression", TEXT, "Where such a route leads: 'texts in quotes' and serviceId, joined by +."
        ),
        Key(
            "predicates",
            Definitions("predicates", expressions=True),
            "Predicates of each; values are expressions.",
        ),
        Key("filters", Definitions("filters", expressions=True), "Filters of each; values are expressions."),
        Key("exclude", Texts(), "Services that get no route."),
    ),
    dotted=True,
)

DISCOVERY: Final = Keys(
    "discovery",
    (Key("locator", LOCATOR, "A route /{service}/** for every service that is known."),),
    dotted=True,
)

FILTER_PROPERTIES: Final = Keys(
    "filter properties",
    (
        Key(
            "secure-headers",
            Keys(
                "secure-headers properties",
                (
                    *(
                        Key(name, Texts(), f"The value of {header}.")
                        for name, (header, _) in SECURE_HEADERS.items()
                    ),
                    *(Key(name, Texts(), f"Headers to {name}.") for name in SWITCHES),
                    Key("enabled", TEXT, "Accepted; none can be switched off."),
                ),
                dotted=True,
            ),
            "What SecureHeaders adds.",
        ),
    ),
    dotted=True,
    others=True,
)

PREDICATE_PROPERTIES: Final = Keys(
    "predicate properties",
    (
        Key(
            "host",
            Keys(
                "host properties",
                (
                    Key(
                        "include-port",
                        FLAG,
                        "Whether Host compares the port too; true if missing.",
                        missing=(None,),
                    ),
                ),
                dotted=True,
                others=True,
            ),
            "What holds for all Host predicates.",
        ),
    ),
    dotted=True,
    others=True,
)

FILE: Final = Keys(
    "a route file",
    (
        Key(
            "routes",
            Listed(ROUTE, numbered=True, null=False),
            "Where requests go; [] if there are none.",
            required=True,
            spring="routes",
        ),
        Key(
            "default-filters",
            Definitions("filters"),
            "Filters of every route, each before the route's own of the same position.",
            spring="default-filters",
        ),
        Key(
            "services",
            MapOf(TextsOr(SERVICE)),
            "Instances behind lb:// names: http(s)://host:port, or a mapping with settings of the service.",
        ),
        Key("gates", Listed(GATE), "Calls that need a place in a waiting room."),
        Key("access", ACCESS, "Calls that are open without a token."),
        Key(
            "rooms",
            MapOf(ROOM, ROOM_ENTRY.pattern),
            "Settings of rooms. concert-* is for the rooms that gates name concert-{…}.",
        ),
        Key("cors", CORS, "Browsers of other origins, as Spring's globalcors.", spring="globalcors"),
        Key("discovery", DISCOVERY, "A route for every service that is known.", spring="discovery"),
        Key("filter", FILTER_PROPERTIES, "Spring's properties for all filters of a kind.", spring="filter"),
        Key(
            "predicate",
            PREDICATE_PROPERTIES,
            "Spring's properties for all predicates of a kind.",
            spring="predicate",
        ),
    ),
    dotted=True,
    null=False,
)

SPRING: Final = "spring"
"""The section with Spring's own nesting."""

SPRING_TOP: Final = frozenset(
    {"application", "config", "debug", "eureka", "info", "jwt", "logging", "management", "resilience4j"}
    | {"server", "springdoc", "token"}
)
"""Spring's settings next to it that do not concern routes. In the gateway they are environment variables."""

SPRING_GATEWAY: Final = (
    *("actuator", "enabled", "fail-on-route-definition-error", "forwarded", "function", "global-filter"),
    *("handler-mapping", "http-client", "http-server", "load-balancer", "metrics", "observability"),
    *("redis-rate-limiter", "redis-route-definition-repository", "restrictive-property-accessor"),
    *("route-filter-cache-enabled", "route-refresh-listener", "security-headers", "set-status"),
    *("streaming-media-types", "trusted-proxies", "version", "web-socket", "x-forwarded"),
)
"""Such settings among Spring Cloud Gateway's own keys."""

SPRING_SECTIONS: Final = {plain_name(key.spring): key for key in FILE if key.spring}
"""The sections that may be in Spring's nesting, by their plain names there."""
