"""The gateway's routes from a real Spring Cloud Config Server over a git repository."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.api.refresh import SIGNATURE, signature_of
from gateway.context import CONFIGURATION, ROOMS
from gateway.errors import ConfigUnavailable
from tests.discovery.config_server.test_docs import FILES
from tests.interop.config_server import Repository, missing, real_config_server
from tests.support.gateway import Gateways, Running

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(240),
]

TOKEN = "operator-token-of-the-test"
SECRET = "webhook-secret-of-the-test"
FILE = """
routes: [{id: filed, uri: 'lb://svc', predicates: [Path=/filed/**]}]
services: {svc: ['%(service)s']}
gates: [{room: default, calls: [POST /held]}]
access: {public: [GET /svc/open]}
"""
COMMON = """
spring.cloud.gateway:
  default-filters: ['AddRequestHeader=X-Greeting, ${greeting}']
  routes:
  - {id: of-everybody, uri: 'lb://svc', predicates: [Path=/nobody/**]}
greeting: hello ${greeted:you}
places.svc: lb://svc
server.port: 1
jpa.show-sql: false
"""
OWN = """
spring:
  cloud:
    gateway:
      server:
        webflux:
          globalcors:
            cors-configurations:
              '[/**]': {allowedOrigins: ['https://web.example'], allowedMethods: '*', maxAge: 60}
          discovery:
            locator: {enabled: true, lower-case-service-id: true}
          routes:
          - id: first
            uri: ${places.svc}
            predicates: [Path=/first/**]
            filters: []
            metadata: {response-timeout: 5000, note: '[x]'}
          - id: long
            uri: ${places.svc}
            predicates:
            - name: Path
              args: {patterns: ['/long/**', '/held/**']}
            filters:
            - name: RewritePath
              args: {regexp: '/long/(?<rest>.*)', replacement: '/$\\{rest}'}
"""
MANY = "spring.cloud.gateway.routes:\n" + "".join(
    f"- {{id: r{at}, uri: 'lb://svc', predicates: [Path=/r{at}]}}\n" for at in range(25)
)
PROPERTIES = r"""
spring.cloud.gateway.server.webflux.routes[0].id=of-properties
spring.cloud.gateway.server.webflux.routes[0].uri=lb://svc
spring.cloud.gateway.server.webflux.routes[0].predicates[0]=Path=/props/**
spring.cloud.gateway.server.webflux.routes[0].filters[0]=RewritePath=/props/(?<rest>.*), /$\\{rest}
spring.cloud.gateway.server.webflux.routes[0].order=-1
spring.cloud.gateway.server.webflux.routes[0].metadata.allow-actuator=true
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Repository, str]]:
    """One server for all tests that don't stop it; each has a branch of its own there."""
    repository = Repository(tmp_path_factory.mktemp("config"))
    repository.commit({"application.yml": COMMON, "gateway-server.yml": OWN})
    with real_config_server(repository) as url:
        yield repository, url


class Branch:
    """A branch that starts at ``main``'s first commit, and the server that serves it."""

    def __init__(self, repository: Repository, url: str, name: str) -> None:
        self._repository = repository
        self.url = url
        self.name = name
        repository.git("checkout", "-q", "-B", name, repository.git("rev-list", "--max-parents=0", "HEAD"))

    def own(self, text: str | None, name: str = "gateway-server.yml") -> str:
        self._repository.git("checkout", "-q", self.name)
        return self._repository.commit({name: text})

    def settings(self, **changes: object) -> dict[str, object]:
        return {
            "spring_config_import": f"configserver:{self.url}",
            "config_server_label": self.name,
            "config_server_refresh_seconds": 0,
            "config_server_webhook_secret": SECRET,
            "management_token": TOKEN,
        } | changes


@pytest.fixture
def branch(shared: tuple[Repository, str], request: pytest.FixtureRequest) -> Branch:
    return Branch(*shared, f"feature/{request.node.name.partition('[')[0]}")


async def routes(gateway: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gateway.nobody("GET", "/actuator/gateway/routes")).json
    return found


async def ids(gateway: Running) -> list[str]:
    return [route["route_id"] for route in await routes(gateway)]


async def told(gateway: Running) -> tuple[str, str]:
    """What health says of the server, and where routes come from."""
    health = (await gateway.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    return health["status"], health["details"]["routes"]


async def refresh(gateway: Running) -> tuple[int, Any]:
    answer = await gateway.with_token(TOKEN)("POST", "/actuator/refresh")
    return answer.status, answer.json


async def until(gateway: Running, holds: Callable[[list[str]], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds(await ids(gateway)):
            await asyncio.sleep(0.05)


async def test_everything_comes_from_the_server(
    branch: Branch, gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    gateway = await gateways.start(FILE, **branch.settings())
    assert await ids(gateway) == ["first", "long", "ReactiveCompositeDiscoveryClient_svc"]
    first, long, _ = await routes(gateway)
    assert (first["uri"], first["metadata"]["response-timeout"]) == ("lb://svc", 5000)
    assert long["predicate"].startswith("Paths: [/long/**, /held/**]")
    assert gateway.app[CONFIGURATION].tables.current.table.cors["/**"].allowed_origins == (
        "https://web.example",
    )
    ann = gateway.user("ann")
    seen = (await ann("GET", "/long/a?x=1")).json
    assert seen["target"] == "/a?x=1"
    assert ["X-Greeting", "hello you"] in seen["headers"]
    listed = [each.getMessage() for each in caplog.records if "mean nothing here" in each.getMessage()]
    assert [line.partition(": ")[2] for line in listed] == ["jpa.show-sql"]
    warned = [each.getMessage() for each in caplog.records if "has no effect" in each.getMessage()]
    assert [line.split()[4] for line in warned] == ["server.port"]


async def test_the_example_of_the_docs_does_what_it_says(branch: Branch, gateways: Gateways) -> None:
    for name, text in FILES.items():
        branch.own(text, name)
    gateway = await gateways.start(FILE, **branch.settings())
    orders = (await gateway.nobody("GET", "/actuator/gateway/routes/orders")).json
    assert (orders["uri"], len(orders["filters"])) == ("http://127.0.0.1:8101", 2)
    assert await refresh(gateway) == (200, [])
    branch.own(FILES["application.yml"].replace("8101", "8102"), "application.yml")
    assert await refresh(gateway) == (200, ["spring.cloud.gateway.server.webflux.routes[0].uri"])


async def test_gates_access_and_actuators_are_as_the_file_says(branch: Branch, gateways: Gateways) -> None:
    branch.own(OWN + "gates: []\naccess: {public: ['GET /svc/**']}\n")
    gateway = await gateways.start(FILE, **branch.settings())
    ann = gateway.user("ann")
    assert (await ann("POST", "/held")).code == "NOT_IN_QUEUE"
    assert (await ann("POST", "/long/held")).code == "NOT_IN_QUEUE"
    assert (await ann("POST", "/svc/held")).code == "NOT_IN_QUEUE"
    assert (await gateway.nobody("GET", "/svc/other")).code == "TOKEN_REQUIRED"
    assert (await gateway.nobody("GET", "/svc/open")).status == 200
    for path in ("/svc/actuator/env", "/long/actuator", "/svc/%61ctuator/x"):
        assert (await ann("GET", path)).code == "ROUTE_NOT_FOUND", path
    assert [each["target"] for each in gateways.service.seen] == ["/open"]


async def test_lists_keep_their_order_and_replace_one_another(branch: Branch, gateways: Gateways) -> None:
    branch.own(MANY)
    gateway = await gateways.start(FILE, **branch.settings())
    assert await ids(gateway) == [f"r{at}" for at in range(25)]


async def test_a_properties_file_is_as_good(branch: Branch, gateways: Gateways) -> None:
    branch.own(None)
    branch.own(PROPERTIES, "gateway-server.properties")
    gateway = await gateways.start(FILE, **branch.settings())
    (route,) = await routes(gateway)
    assert (route["route_id"], route["order"], route["metadata"]) == (
        "of-properties",
        -1,
        {"allow-actuator": True},
    )
    assert (await gateway.user("ann")("GET", "/props/actuator/x")).json["target"] == "/actuator/x"


async def test_profiles_and_documents_for_a_profile_count(branch: Branch, gateways: Gateways) -> None:
    document = "\n---\nspring.config.activate.on-profile: prod\ngreeting: hello prod\n"
    branch.own(OWN + document)
    branch.own("greeting: hello dev", "gateway-server-dev.yml")
    for profiles, greeting in (("", "hello you"), ("prod", "hello prod"), ("dev", "hello dev")):
        gateway = await gateways.start(FILE, **branch.settings(spring_profiles_active=profiles))
        seen = (await gateway.user("ann")("GET", "/first/x")).json
        assert ["X-Greeting", greeting] in seen["headers"]


async def test_a_commit_is_taken_over_on_refresh(branch: Branch, gateways: Gateways) -> None:
    gateway = await gateways.start(FILE, **branch.settings())
    assert await refresh(gateway) == (200, [])
    commit = branch.own(OWN.replace("id: first", "id: renamed"))
    assert await refresh(gateway) == (200, ["spring.cloud.gateway.server.webflux.routes[0].id"])
    assert (await ids(gateway))[0] == "renamed"
    health = (await gateway.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    assert health["status"] == "UP"
    assert health["details"]["version"] == commit


async def test_a_commit_is_taken_over_on_a_signed_webhook(branch: Branch, gateways: Gateways) -> None:
    gateway = await gateways.start(FILE, **branch.settings())
    branch.own(OWN.replace("id: first", "id: renamed"))
    body = b'{"ref": "refs/heads/main"}'
    headers = {SIGNATURE: signature_of(SECRET, body)}
    assert (
        await gateway.nobody("POST", "/actuator/refresh/webhook", data=body, headers=headers)
    ).status == 202
    await until(gateway, lambda found: found[0] == "renamed")


async def test_a_commit_is_taken_over_in_intervals(branch: Branch, gateways: Gateways) -> None:
    gateway = await gateways.start(FILE, **branch.settings(config_server_refresh_seconds=0.2))
    branch.own(OWN.replace("id: first", "id: renamed"))
    await until(gateway, lambda found: found[0] == "renamed")


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("a: [", 503, "status "),
        (
            OWN.replace("[Path=/first/**]", "[Pth=/first/**]"),
            422,
            "gateway-server.yml:15: route 'first': spring.cloud.gateway.server.webflux.routes[0].predicates[0]",
        ),
        (
            OWN.replace("${places.svc}", "${places.other}", 1),
            422,
            "${places.other} is not set and has no default",
        ),
    ],
    ids=["broken YAML", "unknown predicate", "placeholder"],
)
async def test_a_broken_commit_takes_no_route_down(
    text: str, status: int, reason: str, branch: Branch, gateways: Gateways
) -> None:
    gateway = await gateways.start(FILE, **branch.settings())
    before = await routes(gateway)
    branch.own(text)
    answered, content = await refresh(gateway)
    assert answered == status
    assert reason in content["error"]["fields"][0]["reason"]
    assert await routes(gateway) == before
    health = (await gateway.nobody("GET", "/actuator/health")).json
    assert (health["status"], health["components"]["configServer"]["status"]) == ("UP", "UNKNOWN")
    branch.own(OWN)
    assert (await refresh(gateway))[0] == 200
    health = (await gateway.nobody("GET", "/actuator/health")).json
    assert health["components"]["configServer"]["status"] == "UP"


@pytest.mark.parametrize("optional", ["", "optional:"])
async def test_routes_that_are_gone_are_those_of_the_file_when_the_server_says_so_twice(
    optional: str, branch: Branch, gateways: Gateways
) -> None:
    settings = branch.settings(spring_config_import=f"{optional}configserver:{branch.url}")
    gateway = await gateways.start(FILE, **settings)
    before = await routes(gateway)
    branch.own(None)
    branch.own("greeting: hello\n", "application.yml")
    status, content = await refresh(gateway)
    assert (status, "no routes any more" in str(content)) == (422, True)
    assert await routes(gateway) == before
    assert (await refresh(gateway))[0] == 200
    assert await ids(gateway) == ["filed"]
    assert await told(gateway) == await told(await gateways.start(FILE, **settings)) == ("UP", "file")
    branch.own(OWN)
    branch.own(COMMON, "application.yml")
    assert (await refresh(gateway))[0] == 200
    assert await routes(gateway) == before


async def test_a_repository_without_any_configuration_is_as_good_as_a_server_away(
    branch: Branch, gateways: Gateways
) -> None:
    gateway = await gateways.start(FILE, **branch.settings())
    before = await routes(gateway)
    branch.own(None)
    branch.own(None, "application.yml")
    assert (await refresh(gateway))[0] == 503
    assert await routes(gateway) == before
    health = (await gateway.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    assert "no configuration for this name" in health["details"]["reason"]
    with pytest.raises(ConfigUnavailable, match="no configuration for this name"):
        await gateways.start(FILE, **branch.settings())


async def test_an_optional_repository_without_any_configuration_is_believed_when_it_says_so_twice(
    branch: Branch, gateways: Gateways
) -> None:
    settings = branch.settings(spring_config_import=f"optional:configserver:{branch.url}")
    gateway = await gateways.start(FILE, **settings)
    branch.own(None)
    branch.own(None, "application.yml")
    status, content = await refresh(gateway)
    assert (status, "when it says so again, it is believed" in str(content)) == (503, True)
    assert (await ids(gateway))[0] == "first"
    assert (await refresh(gateway))[0] == 200
    assert await ids(gateway) == ["filed"]
    assert await told(gateway) == await told(await gateways.start(FILE, **settings)) == ("UNKNOWN", "file")
    branch.own(OWN)
    branch.own(COMMON, "application.yml")
    await until(gateway, lambda found: found[0] == "first")


async def test_labels_are_tried_in_turn(branch: Branch, gateways: Gateways) -> None:
    gateway = await gateways.start(
        FILE, **branch.settings(config_server_label=f"nowhere/at-all, {branch.name}")
    )
    assert await ids(gateway) == ["first", "long", "ReactiveCompositeDiscoveryClient_svc"]
    health = (await gateway.nobody("GET", "/actuator/health")).json["components"]["configServer"]
    assert (health["status"], health["details"]["label"]) == ("UP", branch.name)


async def test_a_file_that_begins_with_a_byte_order_mark_is_read(branch: Branch, gateways: Gateways) -> None:
    branch.own(None)
    branch.own("\ufeff" + PROPERTIES.lstrip(), "gateway-server.properties")
    gateway = await gateways.start(FILE, **branch.settings())
    assert await ids(gateway) == ["of-properties"]
    branch.own(None, "gateway-server.properties")
    branch.own("\ufeff" + OWN)
    assert (await refresh(gateway))[0] == 200
    assert "first" in await ids(gateway)


async def test_an_unknown_label_is_no_reason_to_serve_the_file(branch: Branch, gateways: Gateways) -> None:
    with pytest.raises(ConfigUnavailable, match="status 404"):
        await gateways.start(FILE, **branch.settings(config_server_label="nowhere"))
    optional = branch.settings(
        config_server_label="nowhere", spring_config_import=f"optional:configserver:{branch.url}"
    )
    gateway = await gateways.start(FILE, **optional)
    assert await ids(gateway) == []
    readiness = await gateway.nobody("GET", "/actuator/health/readiness")
    assert (readiness.status, "status 404" in readiness.body.decode()) == (503, True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "status "),
        (OWN.replace("[Path=/first/**]", "[Pth=/first/**]"), "there is no predicate 'Pth'"),
    ],
    ids=["broken YAML", "unknown predicate"],
)
async def test_a_start_with_a_broken_commit_serves_nothing_until_it_is_mended(
    text: str, reason: str, branch: Branch, gateways: Gateways
) -> None:
    branch.own(text)
    optional = branch.settings(spring_config_import=f"optional:configserver:{branch.url}")
    gateway = await gateways.start(FILE, **optional)
    readiness = await gateway.nobody("GET", "/actuator/health/readiness")
    assert (readiness.status, readiness.json["status"]) == (503, "OUT_OF_SERVICE")
    assert reason in readiness.json["components"]["configServer"]["details"]["reason"]
    assert (await gateway.user("ann")("GET", "/filed/x")).code == "CONFIG_UNAVAILABLE"
    branch.own(OWN)
    await until(gateway, lambda found: found[:1] == ["first"])
    assert (await gateway.nobody("GET", "/actuator/health/readiness")).status == 200
    assert (await gateway.user("ann")("GET", "/first/x")).status == 200


async def test_settings_come_from_the_server(branch: Branch, gateways: Gateways) -> None:
    more = """
queue: {max-capacity: 3, allowed-in-duration-seconds: 60}
management:
  tracing.sampling.probability: 1.0
  metrics.tags: {application: '${spring.application.name:shop}', data-center: a}
springdoc.swagger-ui:
  urls: [{name: 'Orders, and more', url: /orders/v3/api-docs}]
  urls-primary-name: Orders, and more
spring.cloud.gateway:
  httpclient: {connect-timeout: 1500, response-timeout: 5s, pool: {max-idle-time: 15s}}
  trusted-proxies: 127\\.0\\.0\\.1
  x-forwarded: {port-enabled: false}
  forwarded: {enabled: false}
"""
    branch.own(OWN + more.replace("spring.cloud.gateway:", "spring.cloud.gateway.server.webflux:"))
    settings = branch.settings(allowed_in_max_capacity=100, metrics_spring_names="true")
    gateway = await gateways.start(FILE, **settings)
    now = gateway.app[CONFIGURATION].settings
    assert (now.proxy_connect_timeout_seconds, now.proxy_response_timeout_seconds) == (1.5, 5.0)
    assert (now.proxy_keep_alive_seconds, now.tracing_sampling_probability) == (15.0, 1.0)
    assert set(now.metrics_tags) == {("application", now.spring_application_name), ("data_center", "a")}
    room = gateway.app[ROOMS]["default"].limits
    assert (room.capacity, room.duration) == (3, 60.0)
    listed = (await gateway.nobody("GET", "/v3/api-docs/swagger-config")).json
    assert listed["urls"] == [{"name": "Orders, and more", "url": "/orders/v3/api-docs"}]
    headers = {"X-Forwarded-For": "203.0.113.9"}
    seen = dict((await gateway.user("ann")("GET", "/first/x", headers=headers)).json["headers"])
    assert seen["X-Forwarded-For"] == "203.0.113.9, 127.0.0.1"
    assert not {"Forwarded", "X-Forwarded-Port"} & set(seen)
    branch.own(OWN + "queue.max-capacity: 5\n")
    status, changed = await refresh(gateway)
    assert (status, "queue.max-capacity" in changed) == (200, True)
    assert gateway.app[ROOMS]["default"].limits.capacity == 5
    assert gateway.app[CONFIGURATION].settings.proxy_connect_timeout_seconds == 2.0


async def test_keys_come_from_the_server(branch: Branch, gateways: Gateways) -> None:
    keys = f"spring.security.oauth2.resourceserver.jwt.jwk-set-uri: {gateways.keys.uri}\n"
    branch.own(OWN + keys)
    gateway = await gateways.start(FILE, **branch.settings(jwt_jwks_uri=""))
    assert (await gateway.user("ann").status()).code == "NOT_IN_QUEUE"


async def test_a_password_opens_the_server_and_its_end_closes_nothing(
    tmp_path: Path, gateways: Gateways
) -> None:
    repository = Repository(tmp_path / "config")
    repository.commit({"gateway-server.yml": OWN, "application.yml": COMMON})
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    away = f"optional:configserver:http://ann:p%40ss@127.0.0.1:{port}"
    settings = {"spring_config_import": away, "config_server_refresh_seconds": 0.5, "management_token": TOKEN}
    gateway = await gateways.start(FILE, **settings)
    assert await ids(gateway) == ["filed"]
    server = real_config_server(repository, "--user", "ann", "--password", "p@ss", port=port)
    url = await asyncio.to_thread(server.__enter__)
    try:
        await until(gateway, lambda found: found[0] == "first")
        with pytest.raises(ConfigUnavailable, match="user or password is wrong"):
            await gateways.start(FILE, spring_config_import=f"configserver:{url}")
        apart = {"config_server_username": "ann", "config_server_password": "p@ss"}
        assert (await ids(await gateways.start(FILE, spring_config_import=f"configserver:{url}", **apart)))[
            0
        ] == "first"
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)
    status, content = await refresh(gateway)
    assert (status, "can't be reached" in str(content)) == (503, True)
    assert (await ids(gateway))[0] == "first"
    assert (await gateway.user("ann")("GET", "/first/x")).status == 200
