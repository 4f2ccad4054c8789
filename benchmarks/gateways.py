"""This gateway as a process, started as anybody would start it, with the settings it is shipped with."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from benchmarks.drive import Watched, by_ourselves
from benchmarks.load import Order
from benchmarks.processes import Cores, Process, Unavailable, await_true, children, pin, started
from gateway.waiting_room.redis.embedded import find_server

_LISTENING = re.compile(r"listening on https?://127\.0\.0\.1:(\d+)")
GATED = "/api/v1/reservation-seats/1"
OWN = "/api/v1/user/me"
PUBLIC = "/api/v1/products/1"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that is up on 127.0.0.1."""

    port: int
    process: Process
    redis: int | None

    @property
    def watched(self) -> Watched:
        """Whose CPU is measured."""
        return Watched(self.process.pid, self.redis)


@contextlib.contextmanager
def gateway(
    folder: Path,
    cores: Cores,
    *,
    jwks: str,
    upstream: int = 1,
    redis_url: str = "embedded",
    prefix: Sequence[str] = (),
    program: Sequence[str] = ("-m", "gateway", "serve"),
    rooms: Mapping[str, object] | None = None,
    **settings: object,
) -> Iterator[Gateway]:
    """``python -m gateway serve``: access log, metrics, token check and gate as shipped.

    ``upstream`` is the port of the one service behind all routes. An embedded Redis runs with the load, not on the
    gateway's core. ``prefix`` goes behind the Python (a profiler, say), ``program`` behind that; ``rooms`` are those of
    the route file, and ``settings`` are named in lower case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environ = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": "0",
        "REDIS_URL": redis_url,
        "EMBEDDED_REDIS_DIR": str(folder / "redis"),
        "ROUTES_FILE": str(routes_file(folder, upstream, rooms)),
        "JWT_JWKS_URI": jwks,
        # There is no registry and no collector of traces beside a benchmark.
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
        "ZIPKIN_ENDPOINT": "",
        "ALLOWED_IN_DURATION_SECONDS": "7200",
        # Load that saturates the machine would be refused instead of measured.
        "OVERLOAD_LAG_MS": "0",
    }
    environ |= {name.upper(): str(value) for name, value in settings.items()}
    command = [sys.executable, *prefix, *program]
    log = folder / "gateway.log"
    with started(command, cores=cores.server, environ=environ, folder=folder, log=log) as process:
        await_true("the gateway", process, lambda: _port(log) is not None)
        port = _port(log)
        assert port is not None
        redis = _redis_of(process.pid) if redis_url == "embedded" else None
        if redis is not None:
            pin(redis, cores.rest)
        yield Gateway(port, process, redis)


@contextlib.contextmanager
def redis_server(folder: Path, cores: frozenset[int], under: Sequence[str] = ()) -> Iterator[Redis]:
    """A Redis on a unix socket, without persistence; yields a client that answers.

    ``under``: a command that runs it, such as a profiler."""
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "redis.sock"
    command = [
        *under,
        find_server(),
        "--port",
        "0",
        "--unixsocket",
        socket,
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    with started(command, cores=cores, folder=folder, log=folder / "redis.log") as process:
        client = Redis.from_url(f"unix://{socket}", socket_timeout=120)

        def answers() -> bool:
            try:
                return bool(client.ping())
            except RedisAway:
                return False

        try:
            await_true("redis-server", process, answers)
            yield client
        finally:
            client.close()


def admit(
    base: Gateway, tokens: Sequence[str], cores: Cores, *, cookies: Sequence[str] = (), connections: int = 16
) -> None:
    """Line everybody up once, by tokens or by cookies; over one connection in their order. Raises Unavailable if
    somebody was refused."""
    count = len(tokens) + len(cookies)
    order = Order(
        base.port,
        "POST",
        "/api/v1/queue/lineup",
        seconds=120,
        tokens=tokens,
        cookies=cookies,
        count=count,
        connections=connections,
    )
    result = by_ourselves(order, cores)
    if result.failed or result.answers != count:
        raise Unavailable(f"{result.failed} lineups of {count} were refused: {base.process.tail()}")


def routes_file(folder: Path, upstream: int, rooms: Mapping[str, object] | None = None) -> Path:
    """The routes as shipped, all services at ``upstream``. Gated are GETs too, so that all rows of a table send
    the same requests."""
    routes = yaml.safe_load(files("gateway").joinpath("routes.yaml").read_text(encoding="utf-8"))
    routes["services"] = {name: [f"http://127.0.0.1:{upstream}"] for name in routes["services"]}
    routes["gates"][0]["calls"].append("GET /api/v1/reservation-seats/**")
    if rooms is not None:
        routes["rooms"] = dict(rooms)
    file = folder / "routes.yaml"
    file.write_text(yaml.safe_dump(routes))
    return file


def _port(log: Path) -> int | None:
    said = _LISTENING.search(log.read_text(errors="replace"))
    return int(said[1]) if said else None


def _redis_of(pid: int) -> int | None:
    for child in children(pid):
        if "redis-server" in Path(f"/proc/{child}/comm").read_text():
            return child
    return None
