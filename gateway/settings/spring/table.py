"""The table of Spring's names: every property that the gateway reads, its setting, and its description.

Settings take their older names from it, relaxed binding takes its spellings, and warnings take the known names.
``docs/reference/spring-names.md`` is tested against it. If several properties of one setting are set, the first one
counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.settings.spring import values
from gateway.settings.spring.names import Conversion, SpringName, SpringNames

DEFAULTS: Final = {"spring.application.name": "gateway-server", "server.port": "8080"}
"""Values of ``${…}`` if no variable sets them: the defaults of these settings."""

_NAME = SpringName
_DATABASE: Final = "REDIS_URL"


def _redis(prefix: str, tls: str) -> tuple[SpringName, ...]:
    return (
        _NAME(f"{prefix}.url", _DATABASE, "Address of Redis as a whole."),
        _NAME(f"{prefix}.host", _DATABASE, "Host of Redis.", part=True),
        _NAME(f"{prefix}.port", _DATABASE, "Port of Redis.", part=True),
        _NAME(f"{prefix}.database", _DATABASE, "Number of the database.", part=True),
        _NAME(f"{prefix}.username", _DATABASE, "User at Redis.", part=True),
        _NAME(f"{prefix}.password", _DATABASE, "Password at Redis.", part=True, secret=True),
        _NAME(f"{prefix}.{tls}", _DATABASE, "TLS to Redis, sentinels and all nodes.", part=True),
        _NAME(f"{prefix}.sentinel.master", _DATABASE, "Name of the master that sentinels know.", part=True),
        _NAME(f"{prefix}.sentinel.nodes", _DATABASE, "Sentinels, host:port.", part=True, many=True),
        _NAME(f"{prefix}.sentinel.username", _DATABASE, "User at the sentinels.", part=True),
        _NAME(f"{prefix}.sentinel.password", _DATABASE, "Password at the sentinels.", part=True, secret=True),
        _NAME(f"{prefix}.cluster.nodes", _DATABASE, "Nodes of a cluster, host:port.", part=True, many=True),
        _NAME(
            f"{prefix}.timeout",
            "REDIS_TIMEOUT_SECONDS",
            "For connecting to Redis and for each of its answers; a bare number is in milliseconds.",
            part=True,
        ),
    )


def _httpclient(prefix: str) -> tuple[SpringName, ...]:
    return (
        _NAME(
            f"{prefix}.httpclient.connect-timeout",
            "PROXY_CONNECT_TIMEOUT_SECONDS",
            "For connecting to a service, in milliseconds.",
            reading=values.MILLISECONDS,
        ),
        _NAME(
            f"{prefix}.httpclient.response-timeout",
            "PROXY_RESPONSE_TIMEOUT_SECONDS",
            "For a service to send the head of its response; a bare number is in milliseconds.",
            reading=values.DURATION,
        ),
        _NAME(
            f"{prefix}.httpclient.pool.max-idle-time",
            "PROXY_KEEP_ALIVE_SECONDS",
            "How long an idle connection to a service is kept; a bare number is in milliseconds.",
            reading=values.DURATION,
        ),
        _NAME(
            f"{prefix}.httpclient.pool.type",
            "PROXY_KEEP_ALIVE_SECONDS",
            "`disabled`: no idle connection to a service is kept.",
            part=True,
        ),
    )


def _client(prefix: str) -> tuple[SpringName, ...]:
    """The headers that tell services about the client."""
    words = ("for", "host", "port", "proto", "prefix")
    return (
        _NAME(
            f"{prefix}.trusted-proxies",
            "TRUSTED_PROXIES_PATTERN",
            "A Java regex of the addresses of trusted proxies.",
        ),
        _NAME(
            f"{prefix}.forwarded.enabled",
            "FORWARDED_HEADERS",
            "`false`: services get no `Forwarded` of the gateway.",
            part=True,
        ),
        _NAME(
            f"{prefix}.x-forwarded.enabled",
            "FORWARDED_HEADERS",
            "`false`: services get no `X-Forwarded-…` of the gateway.",
            part=True,
        ),
        *(
            _NAME(
                f"{prefix}.x-forwarded.{word}-enabled",
                "FORWARDED_HEADERS",
                f"`false`: services get no `X-Forwarded-{word.capitalize()}` of the gateway.",
                part=True,
            )
            for word in words
        ),
        _switch(
            f"{prefix}.x-forwarded.for-append",
            "FORWARDED_FOR_CHAIN",
            "Whether `X-Forwarded-For` has every address from the client on.",
        ),
    )


def _switch(name: str, setting: str, meaning: str) -> SpringName:
    return _NAME(name, setting, meaning, reading=values.SWITCH)


_INSTANCE: Final = "eureka.instance"

NAMES: Final = SpringNames(
    (
        # The server.
        _NAME("server.port", "SERVER_PORT", "Port to listen on."),
        _NAME("server.address", "SERVER_HOST", "Address to listen on."),
        _NAME(
            "server.forward-headers-strategy",
            "SERVER_FORWARD_HEADERS_STRATEGY",
            "With `native` or `framework`, answers over https carry `Strict-Transport-Security`.",
        ),
        _NAME(
            "server.shutdown",
            "SHUTDOWN_GRACE_SECONDS",
            "`immediate` breaks off what is in flight; `graceful` is the default.",
            part=True,
        ),
        _NAME(
            "spring.lifecycle.timeout-per-shutdown-phase",
            "SHUTDOWN_GRACE_SECONDS",
            "How long a stop finishes what is in flight; a bare number is in milliseconds.",
            part=True,
        ),
        _NAME(
            "server.netty.idle-timeout",
            "KEEP_ALIVE_TIMEOUT_SECONDS",
            "How long a connection may be without a request; a bare number is in milliseconds.",
            reading=values.DURATION,
        ),
        _NAME("management.server.port", "MANAGEMENT_SERVER_PORT", "Port of its own for `/actuator`."),
        _NAME("logging.level.root", "LOG_LEVEL", "The least level that is logged.", reading=values.LEVEL),
        # The application.
        _NAME("spring.application.name", "SPRING_APPLICATION_NAME", "The gateway's name."),
        _NAME("spring.profiles.active", "SPRING_PROFILES_ACTIVE", "Profiles.", many=True),
        _NAME("queue.max-capacity", "ALLOWED_IN_MAX_CAPACITY", "How many users are allowed in at a time."),
        _NAME(
            "queue.allowed-in-duration-seconds",
            "ALLOWED_IN_DURATION_SECONDS",
            "How long after the last gated request a session ends.",
        ),
        # The Config Server.
        _NAME(
            "spring.config.import",
            "SPRING_CONFIG_IMPORT",
            "Whether routes come from a Config Server.",
            many=True,
        ),
        _switch(
            "spring.cloud.config.discovery.enabled",
            "CONFIG_SERVER_DISCOVERY",
            "Whether it is found through Eureka.",
        ),
        _NAME(
            "spring.cloud.config.discovery.service-id",
            "CONFIG_SERVER_SERVICE_ID",
            "Its name in Eureka.",
        ),
        _switch("spring.cloud.config.enabled", "CONFIG_SERVER_ENABLED", "Whether it is asked at all."),
        _NAME("spring.cloud.config.uri", "CONFIG_SERVER_URL", "Its addresses.", many=True),
        _NAME("spring.cloud.config.name", "CONFIG_SERVER_APPLICATION", "Whose configuration is asked for."),
        _NAME(
            "spring.cloud.config.profile", "CONFIG_SERVER_PROFILES", "Profiles that are asked for.", many=True
        ),
        _NAME("spring.cloud.config.label", "CONFIG_SERVER_LABEL", "Branches, tags or commits.", many=True),
        _NAME("spring.cloud.config.username", "CONFIG_SERVER_USERNAME", "User there."),
        _NAME("spring.cloud.config.password", "CONFIG_SERVER_PASSWORD", "Password there.", secret=True),
        _NAME("spring.cloud.config.token", "CONFIG_SERVER_TOKEN", "Sent as `X-Config-Token`.", secret=True),
        _switch(
            "spring.cloud.config.fail-fast",
            "CONFIG_SERVER_FAIL_FAST",
            "Whether a start fails without it, even if the import is optional.",
        ),
        _NAME(
            "spring.cloud.config.request-connect-timeout",
            "CONFIG_SERVER_CONNECT_TIMEOUT_SECONDS",
            "For connecting to it, in milliseconds.",
            reading=values.MILLISECONDS,
        ),
        _NAME(
            "spring.cloud.config.request-read-timeout",
            "CONFIG_SERVER_TIMEOUT_SECONDS",
            "For its whole answer, in milliseconds.",
            reading=values.MILLISECONDS,
        ),
        _NAME(
            "spring.cloud.config.headers.*",
            "CONFIG_SERVER_HEADERS",
            "Headers that are sent to it.",
            part=True,
            secret=True,
            verbatim=True,
        ),
        # Redis, in the names of Spring Boot 3 and of Spring Boot 2.
        *_redis("spring.data.redis", "ssl.enabled"),
        _NAME("spring.data.redis.ssl", _DATABASE, "The same as `spring.data.redis.ssl.enabled`.", part=True),
        _NAME(
            "spring.data.redis.ssl.bundle",
            _DATABASE,
            "Stops the start: say where the certificates are in `REDIS_URL`.",
            part=True,
        ),
        *_redis("spring.redis", "ssl"),
        _NAME("spring.redis.ssl.enabled", _DATABASE, "The same as `spring.redis.ssl`.", part=True),
        # Tokens.
        _NAME(
            "spring.security.oauth2.resourceserver.jwt.jwk-set-uri",
            "JWT_JWKS_URI",
            "Where the keys are that tokens are checked with.",
        ),
        _NAME(
            "spring.security.oauth2.resourceserver.jwt.issuer-uri",
            "JWT_ISSUER",
            "The `iss` a token must have; where it is an address, it leads to the keys.",
        ),
        _NAME(
            "spring.security.oauth2.resourceserver.jwt.jws-algorithms",
            "JWT_ALGORITHMS",
            "Signature algorithms accepted.",
            many=True,
        ),
        _NAME(
            "spring.security.oauth2.resourceserver.jwt.audiences",
            "JWT_AUDIENCE",
            "The `aud` a token must have.",
            many=True,
        ),
        # The way to services.
        *_httpclient("spring.cloud.gateway.server.webflux"),
        *_httpclient("spring.cloud.gateway"),
        *_client("spring.cloud.gateway.server.webflux"),
        *_client("spring.cloud.gateway"),
        # API descriptions.
        _NAME(
            "springdoc.swagger-ui.urls.*",
            "API_DOCUMENTS",
            "Name and address of each description: `[0].name`, `[0].url` and so on.",
            part=True,
        ),
        _NAME(
            "springdoc.swagger-ui.urls-primary-name",
            "API_DOCUMENT_FIRST",
            "The name of the description that is shown first.",
        ),
        # Eureka.
        _switch("eureka.client.enabled", "EUREKA_CLIENT_ENABLED", "Whether anything is asked of Eureka."),
        _NAME(
            "spring.cloud.discovery.enabled",
            "EUREKA_CLIENT_ENABLED",
            "`false` turns Eureka off, whatever the former says.",
            part=True,
        ),
        _NAME(
            "eureka.client.service-url.*",
            "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE",
            "Servers of each zone: `defaultZone`, and zones of other names.",
            part=True,
        ),
        _NAME(
            "eureka.client.region",
            "EUREKA_CLIENT_AVAILABILITYZONES",
            "The region whose zones count; without it `us-east-1`.",
            part=True,
        ),
        _NAME(
            "eureka.client.availability-zones",
            "EUREKA_CLIENT_AVAILABILITYZONES",
            "Zones, whatever the region.",
            many=True,
        ),
        _NAME(
            "eureka.client.availability-zones.*",
            "EUREKA_CLIENT_AVAILABILITYZONES",
            "Zones of each region, the gateway's own first.",
            part=True,
        ),
        _switch(
            "eureka.client.prefer-same-zone-eureka",
            "EUREKA_CLIENT_PREFERSAMEZONEEUREKA",
            "Whether servers of the first zone are asked first.",
        ),
        _switch(
            "eureka.client.register-with-eureka",
            "EUREKA_REGISTER",
            "Whether the gateway registers with Eureka.",
        ),
        _NAME(
            "spring.cloud.service-registry.auto-registration.enabled",
            "EUREKA_REGISTER",
            "`false`: the gateway does not register, whatever the former says.",
            part=True,
        ),
        _switch(
            "eureka.client.fetch-registry", "EUREKA_FETCH", "Whether services' instances come from Eureka."
        ),
        _NAME(
            "eureka.client.registry-fetch-interval-seconds",
            "EUREKA_CLIENT_REGISTRYFETCHINTERVALSECONDS",
            "Time between two looks at who is registered.",
        ),
        _NAME(f"{_INSTANCE}.appname", "EUREKA_INSTANCE_APPNAME", "The gateway's name in Eureka alone."),
        _NAME(
            f"{_INSTANCE}.instance-id", "EUREKA_INSTANCE_INSTANCEID", "What tells this gateway from others."
        ),
        _NAME(f"{_INSTANCE}.hostname", "EUREKA_INSTANCE_HOSTNAME", "The name under which others find it."),
        _NAME(f"{_INSTANCE}.ip-address", "EUREKA_INSTANCE_IPADDRESS", "The IP address that others are told."),
        _switch(
            f"{_INSTANCE}.prefer-ip-address",
            "EUREKA_INSTANCE_PREFERIPADDRESS",
            "Whether others are told the IP address instead of a name.",
        ),
        _NAME(
            f"{_INSTANCE}.non-secure-port",
            "EUREKA_INSTANCE_NONSECUREPORT",
            "The plain port that others are told.",
        ),
        _switch(
            f"{_INSTANCE}.non-secure-port-enabled",
            "EUREKA_INSTANCE_NONSECUREPORTENABLED",
            "Whether others are told the plain port.",
        ),
        _NAME(f"{_INSTANCE}.secure-port", "EUREKA_INSTANCE_SECUREPORT", "The TLS port that others are told."),
        _switch(
            f"{_INSTANCE}.secure-port-enabled",
            "EUREKA_INSTANCE_SECUREPORTENABLED",
            "Whether others are told the TLS port.",
        ),
        _NAME(
            f"{_INSTANCE}.lease-renewal-interval-in-seconds",
            "EUREKA_INSTANCE_LEASERENEWALINTERVALINSECONDS",
            "Time between two heartbeats.",
        ),
        _NAME(
            f"{_INSTANCE}.lease-expiration-duration-in-seconds",
            "EUREKA_INSTANCE_LEASEEXPIRATIONDURATIONINSECONDS",
            "How long after the last heartbeat the gateway counts as gone.",
        ),
        _NAME(f"{_INSTANCE}.home-page-url", "EUREKA_INSTANCE_HOMEPAGEURL", "Home page, as an address."),
        _NAME(f"{_INSTANCE}.home-page-url-path", "EUREKA_INSTANCE_HOMEPAGEURLPATH", "Home page, as a path."),
        _NAME(f"{_INSTANCE}.status-page-url", "EUREKA_INSTANCE_STATUSPAGEURL", "Status page, as an address."),
        _NAME(
            f"{_INSTANCE}.status-page-url-path",
            "EUREKA_INSTANCE_STATUSPAGEURLPATH",
            "Status page, as a path.",
        ),
        _NAME(f"{_INSTANCE}.health-check-url", "EUREKA_INSTANCE_HEALTHCHECKURL", "Health, as an address."),
        _NAME(
            f"{_INSTANCE}.health-check-url-path", "EUREKA_INSTANCE_HEALTHCHECKURLPATH", "Health, as a path."
        ),
        _NAME(
            f"{_INSTANCE}.metadata-map.*",
            "EUREKA_INSTANCE_METADATAMAP",
            "What others are told besides, one by one.",
            part=True,
            verbatim=True,
        ),
        # Tracing, in the names of Spring Boot 4 and of Spring Boot 3.
        _NAME("management.tracing.export.zipkin.endpoint", "ZIPKIN_ENDPOINT", "Where spans are sent."),
        _NAME("management.zipkin.tracing.endpoint", "ZIPKIN_ENDPOINT", "Where spans are sent."),
        *(
            _NAME(name, "ZIPKIN_ENDPOINT", "`false`: no spans are sent.", part=True)
            for name in (
                "management.tracing.export.enabled",
                "management.tracing.enabled",
                "management.tracing.export.zipkin.enabled",
                "management.zipkin.tracing.export.enabled",
            )
        ),
        _NAME(
            "management.metrics.tags.*",
            "METRICS_TAGS",
            "Labels of all metrics under Spring's names, one by one.",
            part=True,
            verbatim=True,
        ),
        _NAME(
            "management.tracing.sampling.probability",
            "TRACING_SAMPLING_PROBABILITY",
            "Share of the traces begun here that is recorded.",
        ),
    )
)

CONVERSIONS: Final[Mapping[str, Conversion]] = {
    one.variable: one.reading for one in NAMES.table if one.reading is not None
}
"""How Spring reads a variable, by its canonical name, if that differs from how the gateway reads its own."""


def other_names(setting: str) -> tuple[str, ...]:
    """The canonical variables that count if the gateway's ``setting`` is unset; the first one that is set wins."""
    return tuple(
        one.variable
        for one in NAMES.table
        if one.setting == setting and not one.part and not one.family and one.variable != setting
    )
