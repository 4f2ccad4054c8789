"""What Kubernetes does with the shipped manifests, as far as a test of the gateway needs it."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.tools import DEPLOY
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import eventually

PLAIN = DEPLOY / "kubernetes"

Manifest = dict[str, Any]


def manifests(text: str) -> dict[tuple[str, str], Manifest]:
    """The objects of a text of YAML, by kind and name."""
    found: dict[tuple[str, str], Manifest] = {}
    for each in yaml.safe_load_all(text):
        if each is not None:
            key = each["kind"], each["metadata"]["name"]
            assert key not in found
            found[key] = each
    return found


def only(objects: Mapping[tuple[str, str], Manifest], kind: str) -> Manifest:
    """The one object of this kind."""
    (found,) = [each for (its_kind, _), each in objects.items() if its_kind == kind]
    return found


def container(deployment: Manifest) -> Manifest:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


class MountedConfigMap:
    """A volume of a ConfigMap, written as kubelet writes it: each version in a folder of its own, ``..data`` a symlink
    to the current one that is replaced at once, and each file a symlink through ``..data``."""

    def __init__(self, folder: Path, data: Mapping[str, str]) -> None:
        self.folder = folder
        self._versions = itertools.count()
        folder.mkdir()
        self.update(data)
        for name in data:
            (folder / name).symlink_to(f"..data/{name}")

    def update(self, data: Mapping[str, str]) -> None:
        """Another version of the same files."""
        current = self.folder / "..data"
        before = current.resolve() if current.is_symlink() else None
        version = self.folder / f"..2026_11_30_12_00_00.{next(self._versions)}"
        version.mkdir()
        for name, text in data.items():
            (version / name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(version.name)
        os.replace(self.folder / "..data_tmp", current)
        if before is not None:
            shutil.rmtree(before)


async def management_of(gateway: GatewayProcess) -> str:
    """Where the management port of a gateway is."""
    found = await eventually(lambda: re.search(r"management on (http://[^\s\"]+)", "\n".join(gateway.lines)))
    return str(found[1])


class Endpoints:
    """A Service: passes each new connection to the next of its ready pods, as kube-proxy does."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.base = ""
        self._next = 0
        self._links: set[asyncio.Task[None]] = set()

    def _chosen(self) -> int:
        self._next += 1
        return self.ports[self._next % len(self.ports)]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()
            for link in self._links:
                link.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)
            await server.wait_closed()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            try:
                back, forth = await asyncio.open_connection("127.0.0.1", self._chosen())
            except OSError:
                return
            try:
                await asyncio.gather(_copy(reader, forth), _copy(back, writer))
            finally:
                forth.close()
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()
            self._links.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes bytes on until one of the two ends."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
