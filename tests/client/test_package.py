"""The JavaScript client as a package: its own tests in Node, its types, its size, and what ``npm pack`` makes of it."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

import gateway
from tests.client.conftest import CLIENT

pytestmark = pytest.mark.timeout(240)
MOST_BYTES = 5 * 1024

# A program that uses all that the package exports, as TypeScript checks it. It must not be right by being `any`.
CONSUMER = """
import { join, withQueue, type JoinOptions, type QueueState } from "waiting-room-client";
import { useQueue } from "waiting-room-client/react";

const options: JoinOptions = { room: "vip", token: async () => "t", share: "user-1" };
for await (const state of join(options)) {
  if (state.state === "WAITING") console.log(state.userQueuePosition.toFixed(), state.estimatedWaitRange?.[1]);
  if (state.state === "ALLOWED_IN") console.log(state.expiresInSeconds, state.claimBy);
  // @ts-expect-error: only users in line have a position
  if (state.state === "ENDED") console.log(state.userQueuePosition);
}
const shop: typeof fetch = withQueue(fetch, { onState: (state: QueueState) => console.log(state.connected) });
await shop("/api/v1/reservations", { method: "POST" });
export const Place = () => useQueue({ room: "vip" }).state?.state ?? "…";
// @ts-expect-error: a room is a text
join({ room: 1 });
"""


def run(*command: str | Path, cwd: Path) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def manifest() -> dict[str, object]:
    content: dict[str, object] = json.loads((CLIENT / "package.json").read_text())
    return content


def modules(entry: str) -> set[str]:
    """The modules that a browser loads for this one, itself included."""
    found, ahead = set(), [entry]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        source = re.sub(r"/\*.*?\*/", "", (CLIENT / "src" / name).read_text(), flags=re.DOTALL)
        ahead += re.findall(r'from "\./([\w-]+\.js)"', source)
    return found


def test_its_own_tests_pass_in_node(node: str) -> None:
    tests = sorted((CLIENT / "test").glob("*.test.js"))
    assert len(tests) >= 3
    said = run(node, "--test", "--test-reporter=tap", *tests, cwd=CLIENT)
    assert re.search(r"^# fail 0$", said, re.MULTILINE)
    assert int(re.findall(r"^# pass (\d+)$", said, re.MULTILINE)[-1]) > 30


def test_it_is_small_as_it_is_served() -> None:
    waiting = modules("join.js")
    assert waiting == {"join.js", "events.js", "tabs.js"}
    one_by_one = sum(len(gzip.compress((CLIENT / "src" / name).read_bytes())) for name in waiting)
    everything = modules("index.js")
    assert everything == waiting | {"index.js", "with-queue.js"}
    together = gzip.compress(b"".join((CLIENT / "src" / name).read_bytes() for name in sorted(everything)))
    assert one_by_one <= MOST_BYTES
    assert len(together) <= MOST_BYTES


def test_it_needs_nothing_and_has_the_version_of_the_gateway() -> None:
    package = manifest()
    assert "dependencies" not in package
    assert package["peerDependenciesMeta"] == {"react": {"optional": True}}
    assert package["version"] == gateway.__version__
    pinned = package["devDependencies"]
    assert isinstance(pinned, dict)
    assert [version for version in pinned.values() if not re.fullmatch(r"[\d.]+", version)] == []


def test_its_types_are_sound(installed_client: Path) -> None:
    tsc = installed_client / "node_modules/.bin/tsc"
    run(tsc, "--noEmit", "--project", installed_client, cwd=installed_client)


def test_the_package_holds_sources_types_licence_and_nothing_else(packed_client: Path) -> None:
    files = {str(path.relative_to(packed_client)) for path in packed_client.rglob("*") if path.is_file()}
    sources = {path.name for path in (CLIENT / "src").iterdir()}
    assert files == {
        "LICENSE",
        "README.md",
        "package.json",
        *(f"src/{name}" for name in sources),
        *(f"types/{name.removesuffix('.js')}.d.ts" for name in sources),
    }
    for name in sources:
        assert (packed_client / "src" / name).read_bytes() == (CLIENT / "src" / name).read_bytes()


def test_a_typescript_program_can_use_the_package(packed_client: Path, installed_client: Path) -> None:
    folder = packed_client.parents[1]
    (folder / "consumer.mts").write_text(CONSUMER)
    run(
        *(installed_client / "node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "false"),
        *("--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom,dom.asynciterable"),
        *("--types", "", "consumer.mts"),
        cwd=folder,
    )
