"""Environment variables → one frozen object, read once.

Each setting is declared once, as a field of ``Settings``; the variable has the field's name in upper case. ``TABLE`` is
made from the fields, ``gateway serve --help`` is printed from it, and ``docs/reference/settings.md`` is tested against
it. Parsing uses no network, no ``os.environ``, and no file except the route file, which may be the shipped one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from gateway.errors import SettingsError
from gateway.settings import types as kinds
from gateway.settings.combined import (
    cookie_is_named,
    documents_of_parts,
    grace_of_spring,
    has_certificate,
    has_private_key,
    headers_of_switches,
    kept_as_pool_says,
    tags_of_parts,
)
from gateway.settings.discovery import servers_by_zone
from gateway.settings.fields import Setting, rows, setting
from gateway.settings.profile import routes_path, spring_reason
from gateway.settings.redis import agreed_redis_address, redis_address_of_parts, redis_timeout_of_spring
from gateway.settings.spring.environ import understood
from gateway.settings.tracing import TracingSettings
from gateway.settings.types import Network, duration, whole


@dataclass(frozen=True, slots=True, repr=False)
class Settings(TracingSettings):
    """All settings, parsed. Durations are in seconds unless the name says otherwise."""

    server_host: str = setting(
        kinds.HOST,
        "0.0.0.0",  # noqa: S104 - a gateway is there to be reached
        "Address to listen on: `127.0.0.1` for this machine only, `::` for IPv6.",
        group="Server",
    )
    server_port: int = setting(kinds.PORT, 8080, "Port to listen on.")
    server_ssl_certificate: Path | None = setting(  # noqa: RUF009 - the default is None
        kinds.PATH,
        None,
        "Certificate in PEM, with its chain, with which `SERVER_PORT` speaks TLS. Looked at each second.",
        default_words="none: plain HTTP",
        cross_check=has_private_key,
    )
    server_ssl_certificate_private_key: Path | None = setting(  # noqa: RUF009 - the default is None
        kinds.PATH,
        None,
        "Its private key in PEM, not encrypted.",
        default_words="none",
        cross_check=has_certificate,
    )
    shutdown_grace_seconds: float = setting(
        duration(zero="at once"),
        20.0,
        "How long a stopping gateway finishes what is in flight and ends streams; the rest is broken off then. The "
        "process ends within this time and a second.",
        compose=grace_of_spring,
    )
    overload_lag_ms: float = setting(
        duration(zero="never", unit="milliseconds"),
        200.0,
        "How long newcomers may have to wait for their turn, or the event loop may lag, in milliseconds, before "
        "lineups get 503 `OVERLOADED` and new streams are told to come back.",
    )
    default_locale: str = setting(
        kinds.LOCALE, "ko", "Language of messages when `Accept-Language` names none there is."
    )
    forced_locale: str | None = setting(
        kinds.LOCALE,
        None,
        "The one language of all messages; the gateway then ignores `Accept-Language`. For clients that compare texts.",
        default_words="as `Accept-Language` says",
    )
    gateway_profile: Literal["spring", "plain"] | None = setting(
        kinds.PROFILE,
        None,
        "Whether this counts as a Spring environment; `plain` says that it is none.",
        default_words="`spring` with a variable of Spring's or the shipped routes, else `plain`",
    )
    server_forward_headers_strategy: Literal["none", "native", "framework"] = setting(
        kinds.FORWARD_HEADERS,
        "none",
        "With `native` or `framework`, Spring Security's `Strict-Transport-Security` goes out where a trusted proxy "
        "says that the client came by https.",
    )

    request_head_timeout_seconds: float = setting(
        duration(),
        10.0,
        "For the head of a request, from its first byte to its last; later ones get 408.",
        group="Slow clients",
    )
    request_body_timeout_seconds: float = setting(
        duration(),
        30.0,
        "How far a body may be behind `REQUEST_BODY_MIN_RATE`, and the longest pause in it; later ones get 408. "
        "Only the time counts in which the gateway waits for the client.",
    )
    request_body_min_rate: int = setting(
        whole(0, note=" (0 = no minimum: only a pause ends the body)"),
        500,
        "Slowest body that is accepted, in bytes per second.",
    )
    slow_uploads_per_client: int = setting(
        whole(0, note=" (0 = none)"),
        16,
        "Most bodies below 16 KiB/s at a time from one client address (or one IPv6 /64); one more gets 429.",
    )
    slow_uploads_per_service: int = setting(
        whole(0, note=" (0 = none)"),
        64,
        "Most bodies below 16 KiB/s at a time on the way to one service; one more gets 503.",
    )
    response_write_timeout_seconds: float = setting(
        duration(),
        60.0,
        "How far a client may be behind `RESPONSE_MIN_RATE` in taking what waits for it, and its longest pause; its "
        "connection is then ended.",
    )
    response_min_rate: int = setting(
        whole(0, note=" (0 = no minimum: only a pause ends the connection)"),
        500,
        "Slowest client that is served, in bytes per second that it takes while more wait.",
    )
    slow_downloads_per_client: int = setting(
        whole(0, note=" (0 = none)"),
        16,
        "Most answers below 16 KiB/s at a time that services wait with for one client address (or one IPv6 /64); one "
        "more is broken off.",
    )
    slow_downloads_per_service: int = setting(
        whole(0, note=" (0 = none)"),
        64,
        "Most answers below 16 KiB/s at a time that one service waits with; one more is broken off.",
    )
    keep_alive_timeout_seconds: float = setting(
        duration(),
        75.0,
        "How long a connection may be without a request, before the first one and between two.",
    )
    max_connections: int | None = setting(
        whole(1),
        None,
        "Most connections of clients at a time, for each port; one more replaces an idle one, or gets 503.",
        default_words="derived from the limit of file descriptors",
    )

    routes_file: Path | None = setting(  # noqa: RUF009 - the default is None
        kinds.PATH,
        None,
        "Routes, gates and access rules.",
        group="Routes and proxying",
        default_words="routes.yaml in the working directory if there is one, else the one shipped",
    )
    proxy_connect_timeout_seconds: float = setting(duration(), 2.0, "For connecting to a service.")
    proxy_response_timeout_seconds: float = setting(
        duration(),
        30.0,
        "For a service to send the head of its response; the body may take longer.",
        spring=math.inf,
        default_words="`30`; in a Spring environment none",
    )
    proxy_keep_alive_seconds: float = setting(
        duration(zero="connections are not kept"),
        4.0,
        "How long an idle connection to a service is kept. Set it below the keep-alive time of the services.",
        cross_check=kept_as_pool_says,
    )
    proxy_dns_seconds: float = setting(duration(), 10.0, "How often names of services are looked up again.")
    proxy_repeat_methods: tuple[str, ...] = setting(
        kinds.REPEAT_METHODS,
        ("GET", "HEAD", "OPTIONS"),
        "Methods that are sent once more, on a new connection, if a kept connection ends before an answer begins.",
        off=(),
    )
    fast_path: bool = setting(
        kinds.SWITCH,
        True,
        "Whether plain requests are served without aiohttp, which takes a fraction of the time. The answers are the "
        "same.",
    )
    max_request_body_bytes: int = setting(
        whole(0, 2**53, " (0 = no limit)"),
        0,
        "Longest request body passed on; longer ones get 413. Bodies are streamed, never held as a whole.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        kinds.NETWORKS, (), "Proxies whose `Forwarded`, `X-Forwarded-*` and `X-Real-IP` are believed."
    )
    trusted_proxies_pattern: str | None = setting(
        kinds.LINE,
        None,
        "A Java regex of the addresses of further such proxies, as Spring Cloud Gateway has it.",
        default_words="none",
    )
    forward_auth: bool = setting(
        kinds.SWITCH, True, "Whether `TRUSTED_PROXIES` may ask for [decisions](../how-to/forward-auth.md)."
    )
    forwarded_headers: tuple[str, ...] = setting(
        kinds.FORWARDED_HEADERS,
        ("forwarded", "for", "host", "port", "proto", "prefix"),
        "Which of `Forwarded` and `X-Forwarded-…` services get of the gateway. What is left out passes as a trusted "
        "proxy sent it.",
        compose=headers_of_switches,
        off=(),
    )
    forwarded_for_chain: bool = setting(
        kinds.SWITCH,
        True,
        "Whether `X-Forwarded-For` has every address from the client on, or the gateway's own peer alone.",
    )

    redis_url: str = setting(
        kinds.REDIS_URL,
        "redis://localhost:6379/0",
        "Where the waiting room lives. `embedded` starts a Redis of the gateway's own.",
        group="Redis",
        compose=redis_address_of_parts,
        cross_check=agreed_redis_address,
    )
    redis_key_prefix: str = setting(
        kinds.LINE,
        "",
        "Put before every key. On Redis Cluster a hash tag in it, such as `{gw}:`, keeps all rooms on one node.",
    )
    redis_timeout_seconds: float = setting(
        duration(),
        1.0,
        "For connecting to Redis and for each of its answers.",
        compose=redis_timeout_of_spring,
    )
    redis_wait_replicas: int = setting(
        whole(0, 100, " (0 = none)"),
        0,
        "How many replicas must have a lineup before it is answered, so that it outlives the master.",
    )
    embedded_redis_dir: Path = setting(  # noqa: RUF009 - a path is never changed
        kinds.PATH, Path(".gateway-redis"), "Folder for the data of the embedded Redis; made if missing."
    )

    allowed_in_max_capacity: int = setting(
        whole(0, note=" (0 = everyone waits)"),
        100,
        "How many users room `default`, and rooms without limits of their own, allow in at a time.",
        group="Waiting room",
    )
    allowed_in_duration_seconds: float = setting(
        duration(), 240.0, "How long after the last gated request a session ends, with the same scope."
    )
    queue_relineup: Literal["back", "keep"] = setting(
        kinds.RELINEUP,
        "back",
        "What lining up again does to a waiting user: to the `back`, or `keep` the place.",
    )
    queue_lineup: Literal["explicit", "implicit"] = setting(
        kinds.LINEUP,
        "explicit",
        "What the gate does with a user without a place: `explicit` refuses the call, `implicit` lines the user up.",
    )
    queue_absent_seconds: float = setting(
        duration(zero="never"),
        60.0,
        "How long a waiting user may be out of sight before being parked: skipped, but with the same ticket.",
    )
    queue_hold_seconds: float = setting(
        duration(zero="none, so absent users lose the place at once"),
        1800.0,
        "How long a parked user keeps the ticket.",
    )
    queue_max_session_seconds: float = setting(
        duration(zero="never"), 0.0, "How long after admission a session ends, however active the user is."
    )
    queue_claim_seconds: float = setting(
        duration(zero="off"),
        0.0,
        "Within this time a user admitted from the line must make a gated call, or the next user gets the slot.",
    )
    queue_history_seconds: float = setting(
        duration(zero="none"),
        3600.0,
        "How long the room remembers what happened to a user after slot or place ended.",
    )
    queue_rate: str = setting(
        kinds.RATE, "off", "How many users are admitted per second, minute or hour at most, as `120/m`."
    )
    queue_max_waiting: int = setting(
        whole(0, note=" (0 = no bound)"),
        0,
        "With so many users in line, parked and registered, no other user joins the line: 503 `ROOM_FULL`.",
    )
    queue_lineups_per_minute: int = setting(
        whole(0, 1000, note=" (0 = no bound)"),
        0,
        "How often a user may line up in any 60 s; beyond that 429 `TOO_MANY_LINEUPS`.",
    )
    queue_mode: Literal["on", "off", "observe"] = setting(
        kinds.MODE,
        "on",
        "What gates do: `on`; `off`: let every authenticated caller pass, and tell everyone that they are allowed in; "
        "`observe`: let everyone pass, and count what would have been refused.",
    )
    queue_max_rooms: int = setting(
        whole(1, 10_000),
        1000,
        "How many rooms calls may make, about: a lineup that would make a further one gets 503 `TOO_MANY_ROOMS`.",
    )
    queue_rooms_per_client: int = setting(
        whole(0, 1000, note=" (0 = no bound)"),
        50,
        "How many of these rooms one user may have made, or the visitors of one address (IPv6: of one /64). A lineup "
        "that would make a further one gets 503 `TOO_MANY_ROOMS`.",
    )
    queue_room_idle_seconds: float = setting(
        duration(),
        3600.0,
        "A room that a call has made is forgotten, with all its keys, after so long without anyone in it.",
    )
    queue_status_interval_seconds: float = setting(
        duration(), 10.0, "Time between two `STATUS_UPDATE` events; also the gate's `Retry-After`."
    )
    queue_fail_open: bool = setting(
        kinds.SWITCH, False, "Without Redis, whether gated calls pass (counted) instead of getting 503."
    )
    queue_follow: Literal["auto", "on", "off"] = setting(
        kinds.FOLLOW,
        "auto",
        "Whether a Java gateway on the same Redis goes on ending sessions and admitting: while it shows that it runs, "
        "always, or never.",
    )
    queue_follow_seconds: float = setting(
        duration(), 60.0, "How long after its last sign a Java gateway counts as running."
    )

    pass_: bool = setting(
        kinds.UNSHOWN_SWITCH,
        False,
        "Whether admitted users get a signed pass, which services and proxies can check by themselves.",
        group="Passes",
    )
    pass_issuer: str | None = setting(
        kinds.LINE, None, "The `iss` of passes.", default_words="`SPRING_APPLICATION_NAME`"
    )
    pass_rotate_seconds: int = setting(
        whole(10, 31_536_000),
        86_400,
        "How long each key signs passes and receipts, in seconds. The next one is published all that time.",
    )

    sse_heartbeat_seconds: float = setting(
        duration(), 30.0, "Time between two `HEARTBEAT` events.", group="Streams"
    )
    sse_max_buffer_bytes: int = setting(
        whole(1), 65_536, "A reader for whom more bytes than this are waiting is cut off."
    )
    sse_max_streams: int | None = setting(
        whole(0, note=" (0 = none)"),
        None,
        "Most streams of this instance at a time; one more is told to come back.",
        default_words="derived from the limit of file descriptors",
    )
    sse_max_streams_per_user: int = setting(
        whole(1), 10, "Most streams of one user on this instance; one more ends the oldest."
    )
    stream_token_grace_seconds: float = setting(
        duration(zero="none"), 3600.0, "How late a token may be when a waiting user's stream reconnects."
    )
    websocket_max: int | None = setting(
        whole(0, note=" (0 = none)"),
        None,
        "Most WebSockets to services of this instance at a time, shared evenly by clients; one more gets 503.",
        default_words="derived from the limit of file descriptors",
    )
    websocket_idle_seconds: float = setting(
        duration(zero="never"),
        300.0,
        "A WebSocket on which nothing was sent either way for so long is ended.",
    )

    jwt_jwks_uri: str | None = setting(
        kinds.HTTP_URL,
        None,
        "Where the keys are that tokens are checked with.",
        group="Tokens and identity",
        default_words="where `JWT_ISSUER` says, if that is an address; else none, in a Spring environment "
        "`http://localhost:8090/.well-known/jwks.json`",
    )
    jwt_issuer: str | None = setting(
        kinds.LINE,
        None,
        "The `iss` a token must have. If it is an address and `JWT_JWKS_URI` is unset, its OpenID document says where "
        "the keys are.",
        default_words="not compared",
    )
    jwt_audience: tuple[str, ...] | None = setting(
        kinds.AUDIENCES,
        None,
        "The `aud` a token must have, or have among others; of several it needs one.",
        default_words="not compared",
    )
    jwt_algorithms: tuple[str, ...] = setting(
        kinds.ALGORITHMS, ("RS256",), "Signature algorithms accepted, all of them asymmetric."
    )
    jwt_user_type_claim: str = setting(
        kinds.LINE, "userType", "The claim that services get as `X-User-Type`."
    )
    jwt_cookie_name: str | None = setting(
        kinds.COOKIE_NAME,
        None,
        "Cookie that may carry the token, on the calls that `JWT_COOKIE_CALLS` says.",
        off=None,
        default_words="off",
    )
    jwt_cookie_calls: Literal["queue", "all"] = setting(
        kinds.COOKIE_CALLS,
        "queue",
        "The calls on which the cookie `JWT_COOKIE_NAME` counts: GET status, GET stream and POST leave, or all.",
        cross_check=cookie_is_named,
    )
    invite_secrets: tuple[str, ...] = setting(
        kinds.SECRETS,
        (),
        "Secrets for invitations into rooms, separated by commas: the first signs, all verify.",
        secret=True,
        default_words="no invitations",
    )
    visitor_secrets: tuple[str, ...] = setting(
        kinds.SECRETS,
        (),
        "Secrets for the cookies of visitors, separated by commas: the first signs, all verify.",
        secret=True,
        default_words="one that the instances make and share through Redis",
    )
    identity_hmac_secret: str | None = setting(
        kinds.LINE,
        None,
        "Shared with services, which can then check `X-Gateway-Signature`.",
        secret=True,
        default_words="no signature",
    )

    management_server_port: int | None = setting(
        kinds.PORT,
        None,
        "Port of its own for `/actuator`.",
        group="Management",
        default_words="that of the gateway",
    )
    management_token: str | None = setting(
        kinds.TOKEN,
        None,
        "Bearer token for calls to `/actuator` that change something, as the operator `management`. Without it and "
        "without `OPERATORS_FILE` these answer 404.",
        secret=True,
        default_words="no changes",
    )
    operators_file: Path | None = setting(  # noqa: RUF009 - the default is None
        kinds.PATH,
        None,
        "File that names the operators, each with a token of their own.",
        default_words="only the operator of `MANAGEMENT_TOKEN`",
    )
    operator_token: str | None = setting(
        kinds.TOKEN,
        None,
        "The token with which `gateway room` calls a gateway; `gateway serve` does not read it.",
        secret=True,
        default_words="that of `MANAGEMENT_TOKEN`",
    )
    management_reads: Literal["open", "token"] = setting(
        kinds.MANAGEMENT_READS,
        "open",
        "Whether reading `/actuator` needs an operator's token too (bare health, liveness and readiness never do).",
    )
    desk: bool = setting(
        kinds.SWITCH,
        False,
        "Whether the [operator's desk](../how-to/desk.md) is on the public port too. It is always on the management "
        "port, if there is one and there are operators.",
    )
    desk_hosts: tuple[str, ...] = setting(
        kinds.HOSTS,
        (),
        "Host names under which operators open the desk, such as `desk.example.com`, without a port. Names of the "
        "machine itself, such as `localhost`, are always allowed; others get 403 `HOST_NOT_ALLOWED`.",
        default_words="only names of the machine itself",
    )
    metrics_spring_names: bool = setting(
        kinds.SWITCH,
        False,
        "Whether requests are also counted under the names that Spring's dashboards read.",
        spring=True,
        default_words="`false`; in a Spring environment `true`",
    )
    metrics_tags: tuple[tuple[str, str], ...] = setting(
        kinds.METADATA,
        (),
        "Labels of all metrics under Spring's names; also one by one, as `MANAGEMENT_METRICS_TAGS_TEAM=tickets`.",
        compose=tags_of_parts,
        default_words="none",
    )
    api_documents: tuple[tuple[str, str], ...] = setting(
        kinds.DOCUMENTS,
        (),
        "What the list of API descriptions has.",
        compose=documents_of_parts,
        default_words="the gateway's own, and one for each route to such a description",
    )
    api_document_first: str | None = setting(
        kinds.LINE,
        None,
        "The name of the description that Swagger UI shows first.",
        default_words="the first one",
    )

    log_format: Literal["text", "json"] = setting(
        kinds.LOG_FORMAT, "text", "Lines for people, or one JSON object a line.", group="Logs"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        kinds.LOG_LEVEL, "INFO", "The least level that is logged."
    )
    access_log: bool = setting(kinds.SWITCH, True, "Whether each request is logged.")
    access_log_user: Literal["off", "hash", "plain"] = setting(
        kinds.LOGGED_USER, "off", "Whether the access log names the user: not at all, by a hash, or plainly."
    )

    spring_because: str = field(default="")
    """Why this is a Spring environment, in words that complete "on, because …"; empty if it is none."""

    @property
    def spring_environment(self) -> bool:
        """Whether the behaviour that only users of Spring expect is switched on: see docs/reference/settings.md."""
        return bool(self.spring_because)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read all settings. Raises ``SettingsError`` for the first that is wrong, in the table's order."""
        view = understood(environ)
        if view.faults:
            raise view.faults[0]
        because = spring_reason(view)
        try:
            values = {row.attribute: row.read(view, spring=bool(because)) for row in TABLE}
            values["eureka_client_serviceurl_defaultzone"] = servers_by_zone(values, view)
        except SettingsError as error:
            raise view.named(error) from None
        # As in Spring Boot, the same port for both means one port, not a conflict. Port 0 is never the same.
        if values["management_server_port"] == values["server_port"] != 0:
            values["management_server_port"] = None
        return cls(**values, spring_because=because)

    def routes_path(self, shipped: Path) -> Path:
        """The file of routes to read: the one set, else that of the working directory, else ``shipped``."""
        return routes_path(self.routes_file, shipped)

    def __repr__(self) -> str:
        shown = (f"{row.attribute}={row.redacted(getattr(self, row.attribute))}" for row in TABLE)
        return f"Settings({', '.join(shown)})"


_ROWS = rows(fields(Settings))
_INHERITED = len(rows(fields(TracingSettings)))
# Inherited fields come first in a dataclass, and last in the table.
TABLE: Final[tuple[Setting, ...]] = (*_ROWS[_INHERITED:], *_ROWS[:_INHERITED])


def as_written(error: SettingsError, environ: Mapping[str, str]) -> SettingsError:
    """The error renamed: it names the variable that the operator has set, as it was written."""
    view = understood(environ)
    row = next((row for row in TABLE if row.name == error.variable), None)
    names = (row.name, *row.older) if row else ()
    variable = next((name for name in names if view.get(name, "").strip()), error.variable)
    return view.named(SettingsError(variable, error.value, error.allowed))


def check(environ: Mapping[str, str]) -> list[SettingsError]:
    """Every wrong setting of ``environ``, in the table's order; none when ``Settings.from_env`` succeeds."""
    view = understood(environ)
    faults = list(view.faults)
    values: dict[str, Any] = {}
    spring = bool(spring_reason(view))
    for row in TABLE:
        try:
            values[row.attribute] = row.read(view, spring=spring)
        except SettingsError as error:
            faults.append(view.named(error))
    try:
        servers_by_zone(values, view)
    except SettingsError as error:
        faults.append(view.named(error))
    return faults
