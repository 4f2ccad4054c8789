"""All that stands around a gateway of the ticketing system, with real Eureka and Config Servers.

The environment is that of the original gateway's compose file. Only addresses are other ones: where Redis and the key
set are, which that file leaves to the defaults, and a capacity of two so that a third user waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.interop.config_server import Repository
from tests.interop.eureka_servers import EurekaServer, free_ports
from tests.interop.peers import peer
from tests.support.listening import listening
from tests.support.redis_server import RedisServer
from tests.support.tokens import Issuer, serving

ISSUER = "tickatch"
"""What the configuration expects as ``iss`` unless ``JWT_ISSUER`` says otherwise."""

PATHS = {
    "test": ("TEST-SERVICE", "/api/v1/test"),
    "auth": ("AUTH-SERVICE", "/api/v1/auth"),
    "user": ("USER-SERVICE", "/api/v1/user"),
    "product": ("PRODUCT-SERVICE", "/api/v1/products"),
    "payment": ("PAYMENT-SERVICE", "/api/v1/payments"),
    "reservation": ("RESERVATION-SERVICE", "/api/v1/reservations"),
    "reservation-seat": ("RESERVATION-SEAT-SERVICE", "/api/v1/reservation-seats"),
    "arthall": ("ARTHALL-SERVICE", "/api/v1/arthalls"),
    "ticket": ("TICKET-SERVICE", "/api/v1/tickets"),
}
"""Services of the ticketing system: their names in Eureka and the paths that lead to them."""

RUNNING = ("auth", "product", "reservation", "reservation-seat", "arthall", "ticket")
"""Those with an instance. Payment's only instance refuses connections; user and test have none."""

KNOWN_TO_EUREKA = ("config-server", "payment-service", *(f"{name}-service" for name in RUNNING))

SLOW_SECONDS = 32.0
"""Longer than the gateway's own default for a service's answer."""


def _route(name: str, uri: str, path: str, prefix: str, kept: str) -> dict[str, Any]:
    return {
        "id": name,
        "uri": f"lb://{uri}",
        "predicates": [f"Path={path}/**"],
        "filters": [f"RewritePath={prefix}(?<segment>/?.*), {kept}$\\{{segment}}"],
    }


def _made_routes() -> list[dict[str, Any]]:
    """In the original's order."""
    found = []
    for name, (app, path) in PATHS.items():
        found.append(_route(f"{name}-service", app, path, path, path))
        if name == "auth":
            found.append(_route("auth-service-jwks", app, "/.well-known", "/.well-known", "/.well-known"))
        if name != "test":
            docs = f"/{name}-service"
            found.append(_route(f"{name}-service-api-docs", app, f"{docs}/v3/api-docs", docs, ""))
    return found


ROUTES = _made_routes()


def _documents() -> list[dict[str, str]]:
    own = {"name": "Gateway Server (Queue API)", "url": "/v3/api-docs"}
    named = ("auth", "arthall", "product", "reservation-seat", "reservation", "ticket")
    return [own, *({"name": f"{name} service", "url": f"/{name}-service/v3/api-docs"} for name in named)]


COMMON: dict[str, Any] = {
    "spring": {
        "datasource": {"url": "jdbc:postgresql://${DB_HOST:localhost}:5432/${DB_NAME:db}"},
        "jpa": {"hibernate": {"ddl-auto": "update"}, "open-in-view": False},
        "kafka": {"bootstrap-servers": "${KAFKA_BOOTSTRAP_SERVERS:127.0.0.1:1}"},
        "rabbitmq": {"host": "${RABBITMQ_HOST:127.0.0.1}", "port": "${RABBITMQ_PORT:1}"},
        "cloud": {"loadbalancer": {"ribbon": {"enabled": False}}},
    },
    "management": {
        "endpoints": {"web": {"exposure": {"include": "health,info,metrics,prometheus,refresh"}}},
        "endpoint": {"health": {"show-details": "always"}, "prometheus": {"enabled": True}},
        "tracing": {"sampling": {"probability": "${TRACING_PROBABILITY:1.0}"}},
        "zipkin": {"tracing": {"endpoint": "${ZIPKIN_ENDPOINT:http://127.0.0.1:1/api/v2/spans}"}},
        "metrics": {"tags": {"application": "${spring.application.name}"}},
    },
    "springdoc": {
        "swagger-ui": {"path": "/swagger-ui.html", "operations-sorter": "alpha", "tags-sorter": "alpha"}
    },
    "logging": {
        "level": {"org.springframework.cloud": "INFO"},
        "file": {"name": "logs/${spring.application.name}.log"},
    },
}
OWN: dict[str, Any] = {
    "spring": {
        "security": {
            "oauth2": {
                "resourceserver": {
                    "jwt": {
                        "jwk-set-uri": "${JWT_JWKS_URI:http://localhost:8090/.well-known/jwks.json}",
                        "issuer-uri": f"${{JWT_ISSUER:{ISSUER}}}",
                    }
                }
            }
        },
        "cloud": {
            "gateway": {
                "server": {
                    "webflux": {
                        "discovery": {"locator": {"enabled": True, "lower-case-service-id": True}},
                        "default-filters": [
                            "DedupeResponseHeader=Access-Control-Allow-Credentials Access-Control-Allow-Origin"
                        ],
                        "globalcors": {
                            "cors-configurations": {
                                "[/**]": {
                                    "allowedOrigins": "*",
                                    "allowedMethods": "*",
                                    "allowedHeaders": "*",
                                }
                            }
                        },
                        "routes": ROUTES,
                    }
                }
            }
        },
    },
    "springdoc": {"swagger-ui": {"urls": _documents(), "urls-primary-name": "product service"}},
    "management": {
        "endpoint": {"gateway": {"enabled": True}},
        "endpoints": {"web": {"exposure": {"include": "health, info, prometheus, metrics, gateway"}}},
    },
}
"""What the original's configuration repository says to its gateway, in its folders."""


@dataclass
class Seen:
    """One request as a service received it."""

    service: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: str


@dataclass
class Site:
    """A running surrounding. ``environment`` is for the gateway; ``seen`` is what the services got."""

    environment: dict[str, str]
    issuer: Issuer
    ports: dict[str, int]
    config_server: str = ""
    seen: list[Seen] = field(default_factory=list)

    def token(self, kind: str) -> str | None:
        """The ``Authorization`` header of a kind such as ``user:alice`` or ``expired:alice``; None without one."""
        kind, _, who = kind.partition(":")
        good = self.issuer
        made: dict[str, Callable[[], str]] = {
            "none": lambda: "",
            "user": lambda: "Bearer " + good.token(who, iss=ISSUER),
            "lower": lambda: "bearer " + good.token(who, iss=ISSUER),
            "expired": lambda: "Bearer " + good.token(who, iss=ISSUER, exp=1_700_000_000),
            "early": lambda: "Bearer " + good.token(who, iss=ISSUER, nbf=4_000_000_000),
            "forged": lambda: "Bearer " + Issuer(key=99, kid=good.kid).token(who, iss=ISSUER),
            "key": lambda: "Bearer " + good.token(who, iss=ISSUER, headers={"kid": "no-such-key"}),
            "issuer": lambda: "Bearer " + good.token(who, iss="another"),
            "no-issuer": lambda: "Bearer " + good.token(who),
            "no-subject": lambda: "Bearer " + good.token(None, iss=ISSUER),
            "no-type": lambda: "Bearer " + good.token(who, iss=ISSUER, userType=None),
            "text": lambda: "Bearer " + who,
            "basic": lambda: "Basic dTpw",
        }
        return made[kind]() or None


def _service(name: str, seen: list[Seen]) -> web.Application:
    """A service that answers with little and is steered by the last segment of the path."""

    async def handle(request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode("latin-1")
        headers = [(key.decode().lower(), value.decode("latin-1")) for key, value in request.raw_headers]
        seen.append(Seen(name, request.method, request.raw_path, headers, body))
        plain: dict[str, web.Response] = {
            "missing": web.json_response({"service": name}, status=404),
            "broken": web.json_response({"service": name}, status=500),
            "moved": web.Response(status=302, headers={"Location": "/api/v1/products/7"}),
            "nothing": web.Response(status=204),
            "cookie": web.Response(text="x", headers={"Set-Cookie": "shop=1; Path=/; HttpOnly"}),
            "cached": web.Response(text="x", headers={"Cache-Control": "public, max-age=60", "ETag": '"1"'}),
            "framed": web.Response(text="x", headers={"X-Frame-Options": "SAMEORIGIN"}),
            "cors": web.Response(
                text="x",
                headers={
                    "Access-Control-Allow-Origin": "*",
                    "Access-Control-Allow-Credentials": "true",
                    "Access-Control-Expose-Headers": "X-Total",
                },
            ),
        }
        match request.path.rpartition("/")[2]:
            case "gone":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            case "slow":
                await asyncio.sleep(SLOW_SECONDS)
            case last if last in plain:
                return plain[last]
        return web.json_response({"service": name})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    return app


def _repository(folder: Path) -> Repository:
    repository = Repository(folder)
    repository.commit(
        {
            "configs/common/application.yml": yaml.safe_dump(COMMON, sort_keys=False),
            "configs/gateway-server/application.yml": yaml.safe_dump(OWN, sort_keys=False),
        }
    )
    return repository


@contextlib.asynccontextmanager
async def _two_eurekas() -> AsyncIterator[list[EurekaServer]]:
    """Two that replicate, each below a path of its own."""
    ports = free_ports(2)
    places = [f"http://127.0.0.1:{port}/eureka{at}/eureka/" for at, port in enumerate(ports, 1)]
    with contextlib.ExitStack() as stack:
        servers = []
        for at, port in enumerate(ports, 1):
            options = ("--peer", places[2 - at], "--set", f"server.servlet.context-path=/eureka{at}")
            servers.append(stack.enter_context(contextlib.closing(EurekaServer(*options, port=port))))
        for server, place in zip(servers, places, strict=True):
            await asyncio.to_thread(server.wait)
            server.url = place
        yield servers


@contextlib.asynccontextmanager
async def a_site(configuration: Path | None = None) -> AsyncIterator[Site]:
    """Starts everything but the gateway. ``configuration`` is another repository for the Config Server."""
    issuer = Issuer()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-original-")))
        repository = configuration or _repository(folder / "repository").folder
        search = "configs/common,configs/{application},configs/{application}/{profile}"
        eurekas, config = await asyncio.gather(
            stack.enter_async_context(_two_eurekas()),
            stack.enter_async_context(peer("config", "--repo", str(repository), "--search-paths", search)),
        )
        redis_port, own_port = free_ports(2)
        stack.enter_context(RedisServer("--port", str(redis_port), "--bind", "127.0.0.1"))
        keys = await stack.enter_async_context(serving(issuer))
        site = Site({}, issuer, {"gateway": own_port}, config)

        async def register(name: str, url: str) -> None:
            # With both: what one tells the other is lost if that is not up yet, and only heartbeats would repeat it.
            for server in eurekas:
                await server.register(name, url)

        await register("config-server", config)
        await register("payment-service", "http://127.0.0.1:1")
        for name in RUNNING:
            app = _service(name, site.seen)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            url = await stack.enter_async_context(listening(runner))
            site.ports[name] = int(url.rpartition(":")[2])
            await register(f"{name}-service", url)
        for server in eurekas:
            for name in KNOWN_TO_EUREKA:
                await server.until(name)
        site.environment = {
            "SERVER_PORT": str(own_port),
            "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE": ",".join(server.url for server in eurekas),
            "LOGSTASH_HOST": "127.0.0.1:1",
            "GATEWAY_IMAGE": "ghcr.io/example/gateway-server:latest",
            "EUREKA_REGISTER": "true",
            "EUREKA_FETCH": "true",
            "SPRING_CLOUD_CONFIG_DISCOVERY_ENABLED": "true",
            "SPRING_CLOUD_CONFIG_DISCOVERY_SERVICE_ID": "config-server",
            "ZIPKIN_ENDPOINT": "http://127.0.0.1:1/api/v2/spans",
            "TRACING_PROBABILITY": "1.0",
            "JAVA_OPTS": "-Xms256m -Xmx512m",
            "LOG_LEVEL": "INFO",
            "REDIS_IP": "127.0.0.1",
            "SPRING_DATA_REDIS_PORT": str(redis_port),
            "JWT_JWKS_URI": keys.uri,
            "ALLOWED_IN_MAX_CAPACITY": "2",
        }
        yield site
