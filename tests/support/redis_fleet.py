"""Several real Redis servers that know of each other: a master with replicas and sentinels, and a cluster."""

from __future__ import annotations

import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis as sync_redis

from tests.support.redis_server import RedisServer, chosen_executable

SERVICE = "tickets"
HOST = "127.0.0.1"
PATIENCE = 40.0
"""Seconds that servers may take to agree on something, on a machine that does other things."""


def free_port() -> int:
    """A port that nobody has, with that of a cluster's bus. Below those that the kernel gives to connections."""
    for _ in range(200):
        port = random.randrange(20_000, 22_700)
        if _is_free(port) and _is_free(port + 10_000):
            return port
    raise RuntimeError("no free port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true result of ``holds``; a server that is away meanwhile is a false one."""
    limit = time.monotonic() + seconds
    while True:
        try:
            if result := holds():
                return result
        except sync_redis.RedisError:
            pass
        assert time.monotonic() < limit, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


class Member(RedisServer):
    """A server of a fleet: reachable by TCP, and by its socket for the test itself."""

    def __init__(self, *options: str, password: str = "") -> None:
        self.port = free_port()
        self.password = password
        super().__init__("--port", str(self.port), "--bind", HOST, *options)

    @property
    def client(self) -> sync_redis.Redis:
        """A client over the socket; replies are text."""
        return sync_redis.Redis.from_url(
            self.url, decode_responses=True, protocol=2, password=self.password or None
        )

    def start(self) -> None:
        """See ``RedisServer``. It asks for the password from then on."""
        super().start()
        if self.password:
            with sync_redis.Redis.from_url(self.url) as client:
                client.config_set("masterauth", self.password)
                client.config_set("requirepass", self.password)

    def role(self) -> str:
        """master, slave, or away."""
        try:
            with self.client as client:
                return client.execute_command("ROLE")[0]
        except sync_redis.RedisError:
            return "away"


class Sentinel:
    """One sentinel process, with a configuration of its own that it rewrites."""

    def __init__(self, master_port: int, password: str, own_password: str) -> None:
        self.port = free_port()
        self.password = own_password
        self._folder = tempfile.TemporaryDirectory(prefix="gw-sentinel-")
        file = Path(self._folder.name, "sentinel.conf")
        lines = [
            f"port {self.port}",
            f"bind {HOST}",
            f"dir {self._folder.name}",
            f"sentinel monitor {SERVICE} {HOST} {master_port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 1500",
            f"sentinel failover-timeout {SERVICE} 6000",
            f"sentinel parallel-syncs {SERVICE} 2",
        ]
        if password:
            lines.append(f"sentinel auth-pass {SERVICE} {password}")
        if own_password:
            lines.append(f"requirepass {own_password}")
        file.write_text("\n".join(lines) + "\n")
        with Path(self._folder.name, "log").open("wb") as output:
            self.process = subprocess.Popen(
                [chosen_executable(), file, "--sentinel"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def facts(self) -> dict[str, Any]:
        """What it knows of the master."""
        with sync_redis.Redis(
            host=HOST, port=self.port, password=self.password or None, decode_responses=True, protocol=2
        ) as client:
            reply = client.execute_command("SENTINEL", "MASTER", SERVICE)
            return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()


class Watched:
    """A master, its replicas, and three sentinels who watch over them."""

    def __init__(self, servers: list[Member], sentinels: list[Sentinel]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    def url(self, credentials: str = "", query: str = "") -> str:
        """The address for a gateway."""
        places = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{credentials}{places}/{SERVICE}/0{query}"

    def master(self) -> Member:
        """The one that is master now, once there is one."""
        return until(
            lambda: next((server for server in self.servers if server.role() == "master"), None), "a master"
        )


@contextmanager
def watched(replicas: int = 2, *, password: str = "", sentinel_password: str = "") -> Iterator[Watched]:
    """Starts it all; done when every sentinel knows every replica and the other sentinels."""
    with ExitStack() as stack:
        options = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
        servers = [
            stack.enter_context(Member(*options, "--repl-ping-replica-period", "1", password=password))
            for _ in range(1 + replicas)
        ]
        for server in servers[1:]:
            with server.client as client:
                client.replicaof(HOST, servers[0].port)
        sentinels = []
        for _ in range(3):
            sentinel = Sentinel(servers[0].port, password, sentinel_password)
            stack.callback(sentinel.close)
            sentinels.append(sentinel)

        def settled() -> bool:
            facts = [sentinel.facts() for sentinel in sentinels]
            with servers[0].client as client:
                online = str(client.info("replication")).count("'state': 'online'")
            return online == replicas and all(
                (int(one["num-slaves"]), int(one["num-other-sentinels"])) == (replicas, 2) for one in facts
            )

        until(settled, "all know of all")
        yield Watched(servers, sentinels)


class Cluster:
    """Masters that share the slots, and perhaps a replica."""

    def __init__(self, servers: list[Member]) -> None:
        self.servers = servers

    def url(self) -> str:
        """The address for a gateway."""
        return "redis+cluster://" + ",".join(f"{HOST}:{server.port}" for server in self.servers)

    def owner(self, slot: int) -> Member:
        """The node that has the slot now."""
        return until(lambda: next((one for one in self.servers if self._has(one, slot)), None), "an owner")

    def _has(self, server: Member, slot: int) -> bool:
        try:
            with server.client as client:
                me = client.execute_command("CLUSTER", "MYID")
                ranges = slots(client)
        except sync_redis.ConnectionError:
            return False
        return any(first <= slot <= last and master[2] == me for first, last, master, *_ in ranges)

    def move(self, slot: int, source: Member, target: Member) -> None:
        """Moves a slot as redis-cli does, with a moment between the steps; done when every node knows."""
        with source.client as of_source, target.client as of_target:
            target_id = of_target.execute_command("CLUSTER", "MYID")
            source_id = of_source.execute_command("CLUSTER", "MYID")
            of_target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
            of_source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
            time.sleep(0.3)
            while keys := of_source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                of_source.execute_command("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)
            time.sleep(0.3)
            of_target.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
            of_source.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        for server in self.servers:
            until(lambda one=server: self._named_by(one, slot) == target.port, "the new owner is known")

    def _named_by(self, server: Member, slot: int) -> int:
        with server.client as client:
            return next(master[1] for first, last, master, *_ in slots(client) if first <= slot <= last)


def slots(client: sync_redis.Redis) -> list[Any]:
    """The reply of ``CLUSTER SLOTS``: first, last, and [host, port, id…] of master and replicas."""
    # Below the client's own parsing, which differs from version to version.
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("CLUSTER", "SLOTS")
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


@contextmanager
def cluster(*, replicas_of_each: int = 0) -> Iterator[Cluster]:
    """Three masters with a third of the slots each; done when all of them say that the cluster is well."""
    with ExitStack() as stack:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        servers = [stack.enter_context(Member(*options)) for _ in range(3 * (1 + replicas_of_each))]
        clients = [stack.enter_context(server.client) for server in servers]
        for client in clients[1:]:
            client.execute_command("CLUSTER", "MEET", HOST, servers[0].port)
        for at, client in enumerate(clients[:3]):
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384 * at // 3, 16384 * (at + 1) // 3))
        until(
            lambda: all(cluster_fact(one, "cluster_known_nodes") == str(len(servers)) for one in clients),
            "all met",
        )
        for at, client in enumerate(clients[3:]):
            master = clients[at % 3].execute_command("CLUSTER", "MYID")
            until(lambda c=client, m=master: c.execute_command("CLUSTER", "REPLICATE", m), "a replica")
        until(lambda: all(cluster_fact(one, "cluster_state") == "ok" for one in clients), "a cluster")
        if replicas_of_each:
            until(
                lambda: all(one.info("replication")["master_link_status"] == "up" for one in clients[3:]),
                "replicas in step",
            )
        yield Cluster(servers)


def cluster_fact(client: sync_redis.Redis, name: str) -> str:
    """One line of ``CLUSTER INFO``; the client's replies are text."""
    info = client.execute_command("CLUSTER", "INFO")
    facts = info if isinstance(info, dict) else dict(line.split(":", 1) for line in info.split())
    return str(facts[name])
