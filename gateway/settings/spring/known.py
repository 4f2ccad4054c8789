"""Properties that Spring knows and the gateway ignores. Pure.

A property that would change what clients or operators see has a text that says what the gateway does instead. All
others are harmless: they are about Java's pools and threads, or about libraries that the gateway does not use.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.settings.spring.names import as_variable

NAMESPACES: Final = frozenset({"SPRING", "SPRINGDOC", "EUREKA", "MANAGEMENT", "LOGGING", "SERVER"})
"""The first words of Spring's variables."""

_TLS: Final = "TLS is that of SERVER_SSL_CERTIFICATE and SERVER_SSL_CERTIFICATE_PRIVATE_KEY, in PEM"
_PATHS: Final = "the gateway's own calls have no path before them; a proxy in front can strip one"
_ROUTES: Final = "routes, filters and CORS come from routes.yaml or from a Config Server, not from variables"
_FILES: Final = "Spring's own files are not read; routes are in ROUTES_FILE"
_PROFILES: Final = "profiles are those of SPRING_PROFILES_ACTIVE alone"
_ACTUATOR: Final = "MANAGEMENT_READS and MANAGEMENT_TOKEN say who may use /actuator"
_USERS: Final = "users come with tokens; the gateway has no login of its own"
_PUSHED: Final = "metrics are fetched at /actuator/prometheus, and not pushed"
_SPANS: Final = "spans are sent where ZIPKIN_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT say"
_LOGS: Final = "the log goes to standard output; LOG_FORMAT says how"
_LIMITS: Final = "limits of requests are settings of the gateway's own, see docs/reference/settings.md"
_LOCALE: Final = "DEFAULT_LOCALE is the language of messages"
_WAY: Final = "the way to Eureka is direct, with the system's certificates"
_NAMES: Final = "others find the gateway under its application name"
_REGISTRIES: Final = "instances of services come from Eureka and from services: of routes.yaml"
_SAMPLED: Final = "ZIPKIN_ENDPOINT says where spans go, and TRACING_SAMPLING_PROBABILITY how many"
_DESCRIBED: Final = (
    "the gateway's own API description is at /v3/api-docs, for everyone; a proxy in front can close it"
)
_SWAGGER: Final = "Swagger UI is at /swagger-ui.html, for everyone; a proxy in front can close it"
_ADDRESS: Final = "EUREKA_INSTANCE_IPADDRESS and EUREKA_INSTANCE_HOSTNAME say where others find the gateway"

_CHANGING: Final = {
    "server.ssl": _TLS,
    "server.http2": "the gateway speaks HTTP/1.1; a proxy in front can speak HTTP/2",
    "server.compression": "answers are passed on as the services send them",
    "server.servlet.context-path": _PATHS,
    "spring.webflux.base-path": _PATHS,
    "server.use-forward-headers": "forwarded headers of TRUSTED_PROXIES are believed",
    "server.max-http-request-header-size": _LIMITS,
    "server.max-http-header-size": _LIMITS,
    "server.netty": _LIMITS,
    "server.error": "errors have the gateway's own envelope",
    "server.server-header": "the Server header is not sent",
    "spring.cloud.gateway": _ROUTES,
    "spring.cloud.discovery.client": "static instances are in services: of routes.yaml",
    "spring.cloud.loadbalancer": "instances take turns, and what fails is left out",
    "spring.cloud.config.tls": "certificates of the Config Server are checked with those of the system",
    "spring.cloud.config.multiple-uri-strategy": "several addresses are tried in turn, whatever fails",
    "spring.cloud.config.send-all-labels": "labels are asked for one after the other",
    "spring.cloud.bootstrap": _FILES,
    "spring.cloud.consul": _REGISTRIES,
    "spring.cloud.inetutils": _ADDRESS,
    "spring.cloud.kubernetes": _REGISTRIES,
    "spring.cloud.vault": "configuration comes from a Config Server alone",
    "spring.cloud.zookeeper": _REGISTRIES,
    "spring.config.location": _FILES,
    "spring.config.additional-location": _FILES,
    "spring.config.name": _FILES,
    "spring.config.on-not-found": "SPRING_CONFIG_IMPORT is optional only where it says so",
    "spring.profiles.include": _PROFILES,
    "spring.profiles.default": _PROFILES,
    "spring.profiles.group": _PROFILES,
    "spring.security": _USERS,
    "spring.security.oauth2.resourceserver": "tokens are checked with JWT_JWKS_URI and what belongs to it",
    "spring.web.locale": _LOCALE,
    "spring.messages": _LOCALE,
    "spring.boot.admin": "the gateway does not register there; Spring Boot Admin finds it through Eureka",
    "spring.ssl": _TLS,
    "springdoc.api-docs.enabled": _DESCRIBED,
    "springdoc.api-docs.path": _DESCRIBED,
    "springdoc.swagger-ui.enabled": _SWAGGER,
    "springdoc.swagger-ui.path": _SWAGGER,
    # Of Spring Boot 2.
    "spring.sleuth": _SAMPLED,
    "spring.zipkin": _SAMPLED,
    "management.server": "/actuator is on SERVER_HOST, in plain HTTP, without a path before it",
    "management.endpoints": _ACTUATOR,
    "management.endpoint": _ACTUATOR,
    "management.health": "health has the gateway's own components, and none can be left out",
    "management.otlp": _SPANS,
    "management.opentelemetry": _SPANS,
    "management.wavefront": _SPANS,
    "management.tracing.propagation": "services get W3C traceparent; W3C and B3 are understood",
    "management.prometheus.metrics.export.pushgateway": _PUSHED,
    "management.observations.key-values": "metrics have the gateway's own labels",
    "logging.file": _LOGS,
    "logging.path": _LOGS,
    "logging.config": _LOGS,
    "logging.structured": _LOGS,
    "eureka.client.proxy-host": _WAY,
    "eureka.client.proxy-port": _WAY,
    "eureka.client.tls": _WAY,
    "eureka.client.use-dns-for-fetching-service-urls": "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE names the servers",
    "eureka.client.filter-only-up-instances": "instances that are not UP get no requests",
    "eureka.client.fetch-remote-regions-registry": "services are those of the servers' own region",
    "eureka.client.registry-refresh-single-vip-address": "all services are fetched",
    "eureka.instance.virtual-host-name": _NAMES,
    "eureka.instance.secure-virtual-host-name": _NAMES,
    "eureka.instance.initial-status": "the gateway registers as UP once it is",
    "eureka.instance.secure-health-check-url": "health is told with EUREKA_INSTANCE_HEALTHCHECKURL",
}

_CLIENT: Final = (
    "allow-redirects backup-registry-impl cache-refresh-executor-exponential-back-off-bound "
    "cache-refresh-executor-thread-pool-size client-data-accept decoder-name disable-delta dollar-replacement "
    "encoder-name escape-char-replacement eureka-connection-idle-timeout-seconds "
    "eureka-server-connect-timeout-seconds eureka-server-d-n-s-name eureka-server-port "
    "eureka-server-read-timeout-seconds eureka-server-total-connections eureka-server-total-connections-per-host "
    "eureka-server-u-r-l-context eureka-service-url-poll-interval-seconds g-zip-content healthcheck "
    "heartbeat-executor-exponential-back-off-bound heartbeat-executor-thread-pool-size "
    "initial-instance-info-replication-interval-seconds instance-info-replication-interval-seconds jersey "
    "log-delta-diff on-demand-update-status-change order proxy-password proxy-user-name refresh restclient "
    "should-enforce-registration-at-init should-unregister-on-shutdown transport webclient"
)
_INSTANCE: Final = (
    "a-s-g-name app-group-name async-client-initialization data-center-info default-address-resolution-order "
    "instance-enabled-onit namespace environment"
)
_SPRING: Final = (
    "activemq aop artemis autoconfigure banner batch beaninfo boot cache cassandra codec couchbase data "
    "datasource devtools docker elasticsearch flyway freemarker graphql groovy grpc gson h2 hateoas hazelcast http "
    "influx info integration jackson jackson2 jdbc jersey jms jmx jndi jooq jpa jsonb jta kafka kotlinx ldap "
    "liquibase mail main mandatory-file-encoding mongodb mustache mvc neo4j netty output pid pulsar quartz "
    "r2dbc rabbitmq reactor resources rest restdocs rsocket sendgrid servlet session shell sql task test "
    "testcontainers thread thymeleaf threads transaction validation web webflux webservices zookeeper"
)
_CLOUD: Final = (
    "azure aws bus circuitbreaker compatibility-verifier config.retry config.media-type config.charset "
    "config.send-state config.server config.initialize-on-context-refresh config.override-none "
    "config.allow-override config.override-system-properties decrypt-environment-post-processor discovery.order "
    "discovery.blocking discovery.reactive discovery.client.health-indicator "
    "discovery.client.composite-indicator features function gcp "
    "httpclientfactories hypermedia netflix openfeign refresh service-registry stream task util"
)
_MANAGEMENT: Final = (
    "appoptics atlas auditevents brave cloudfoundry datadog defaults dynatrace elastic ganglia graphite "
    "httpexchanges humio influx info jmx kairos metrics newrelic observations prometheus security signalfx "
    "simple stackdriver statsd trace tracing zipkin"
)
_SPRINGDOC: Final = (
    "api-docs auto-tag-classes cache consumes-to-match default-consumes-media-type "
    "default-flat-param-object default-produces-media-type default-support-form-data disable-i18n "
    "group-configs model-and-view-allowed model-converters nullable-request-parameter-enabled "
    "open-api override-with-generic-response packages-to-exclude packages-to-scan paths-to-exclude paths-to-match "
    "pre-loading-enabled pre-loading-locales produces-to-match remove-broken-reference-definitions show-actuator "
    "show-login-endpoint show-oauth2-endpoints show-spring-cloud-functions sort-converter swagger-ui "
    "trim-kotlin-indent use-fqn use-management-port webjars writer-with-default-pretty-printer "
    "writer-with-order-by-keys"
)
_HARMLESS: Final = (
    *(f"springdoc.{name}" for name in _SPRINGDOC.split()),
    *(f"eureka.client.{name}" for name in _CLIENT.split()),
    *(f"eureka.instance.{name}" for name in _INSTANCE.split()),
    *("eureka.server", "eureka.dashboard", "eureka.datacenter", "eureka.environment"),
    *(f"spring.{name}" for name in _SPRING.split()),
    *(f"spring.cloud.{name}" for name in _CLOUD.split()),
    *("spring.application.admin", "spring.application.group", "spring.application.index"),
    *(
        "spring.application.version",
        "spring.config.activate",
        "spring.profiles.validate",
    ),
    *("spring.data.redis.client-name", "spring.data.redis.client-type", "spring.data.redis.connect-timeout"),
    *("spring.data.redis.jedis", "spring.data.redis.lettuce", "spring.data.redis.repositories"),
    *("spring.data.redis.cluster.max-redirects", "spring.data.redis.listener", "spring.data.redis.read-from"),
    *("spring.data.redis.masterreplica",),
    *("spring.redis.client-name", "spring.redis.client-type", "spring.redis.connect-timeout"),
    *("spring.redis.jedis", "spring.redis.lettuce", "spring.redis.cluster.max-redirects"),
    *(f"management.{name}" for name in _MANAGEMENT.split()),
    *("management.health.livenessstate", "management.health.probes", "management.health.readinessstate"),
    *("server.jetty", "server.reactive", "server.servlet", "server.tomcat", "server.undertow"),
    *("server.connection-timeout", "server.tomcat.threads", "server.mime-mappings"),
    *(
        "logging.charset",
        "logging.console",
        "logging.exception-conversion-word",
        "logging.group",
        "logging.level",
    ),
    *("logging.include-application-group", "logging.include-application-name", "logging.log4j2"),
    *(
        "logging.logback",
        "logging.pattern",
        "logging.register-shutdown-hook",
        "logging.threshold",
    ),
)

_BEGINNINGS: Final[dict[str, str]] = {
    form: property_
    for property_ in (*_HARMLESS, *_CHANGING)
    for form in (as_variable(property_), property_.replace("-", "_").replace(".", "_").upper())
}
# Below these, every property is listed here or in the table, so any other one is a mistake.
_COMPLETE: Final = frozenset(
    {"EUREKA_CLIENT", "EUREKA_INSTANCE", "SPRING_APPLICATION", "SPRING_CLOUD_CONFIG", "SPRING_CONFIG"}
    | {"SPRING_DATA_REDIS", "SPRING_PROFILES", "SPRING_REDIS", "SPRING_LIFECYCLE"}
)
# Variables that other programs set under such names: CGI and web servers, and the process managers of some clouds.
_OTHERS: Final = frozenset(
    {"SERVER_ADDR", "SERVER_ADMIN", "SERVER_ID", "SERVER_IP", "SERVER_NAME", "SERVER_PROTOCOL", "SERVER_ROOT"}
    | {"SERVER_SIGNATURE", "SERVER_SOFTWARE", "SERVER_HOSTNAME", "SERVER_URL"}
)


class Known(NamedTuple):
    """A Spring property that the gateway ignores, or the beginning of its name.

    ``instead``: what the gateway does instead; "" if the property is harmless. ``whole``: whether the whole name
    matched.
    """

    canonical: str
    instead: str
    whole: bool


def is_springs(name: str) -> bool:
    """Whether a variable's name is in one of Spring's namespaces, and is not known to belong to another program."""
    upper = _folded(name)
    first, underscore, _ = upper.partition("_")
    return bool(underscore) and first in NAMESPACES and upper not in _OTHERS


def known(name: str) -> Known | None:
    """The Spring property of a name that the gateway ignores; None if Spring has no such property."""
    words = _folded(name).split("_")
    shortest = max(
        (length for length in range(2, len(words) + 1) if _joined(words, length) in _COMPLETE), default=1
    )
    # The longest matching beginning is the most specific.
    for length in range(len(words), shortest, -1):
        property_ = _BEGINNINGS.get(_joined(words, length))
        if property_ is not None:
            return Known(property_, _CHANGING.get(property_, ""), length == len(words))
    return None


def _joined(words: list[str], length: int) -> str:
    return "_".join(words[:length])


def _folded(name: str) -> str:
    return re.sub(r"\[(\d+)\]", r"_\1", as_variable(name))
