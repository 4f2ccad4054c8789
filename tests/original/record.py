"""Records the answers of the original gateway anew, for the comparison to be held against.

    python -m tests.original.record [--configuration REPOSITORY] [--to FOLDER] -- java -Xmx256m -jar GATEWAY.jar

The command behind ``--`` starts the gateway; it gets the environment of the compose file, with a real Eureka, Config
Server and Redis at the addresses in there. ``--configuration`` is the git repository for the Config Server, if not the
one of the test. With ``--wait`` nothing is recorded: the gateway runs until it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

import aiohttp

from tests.original.recording import FOLDER, Recorder, write
from tests.original.site import KNOWN_TO_EUREKA, ROUTES, a_site

START_SECONDS = 120.0


async def until_ready(base: str) -> None:
    """Waits until the gateway has all routes: those of the configuration, and those of located services."""
    async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{base}/actuator/gateway/routes") as response:
                    if response.status == 200 and len(await response.json()) >= len(ROUTES) + len(
                        KNOWN_TO_EUREKA
                    ):
                        return
            except (aiohttp.ClientError, ValueError):
                pass
            await asyncio.sleep(0.2)


async def _run(options: argparse.Namespace) -> None:
    async with a_site(options.configuration) as site:
        base = f"http://127.0.0.1:{site.ports['gateway']}"
        own = {"PATH": os.environ["PATH"], "SERVER_ADDRESS": "127.0.0.1"}
        extra = dict(pair.split("=", 1) for pair in options.set)
        with tempfile.TemporaryDirectory() as folder, (options.log or Path(os.devnull)).open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *options.command,
                env=own | site.environment | extra,
                cwd=folder,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                await until_ready(base)
                if options.wait:
                    print(base, *(f"{key}={value}" for key, value in site.environment.items()), sep="\n")
                    await process.wait()
                else:
                    recorder = Recorder(site, base)
                    write(await recorder.all(), await recorder.routes(), options.to)
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configuration", type=Path, help="git repository for the Config Server")
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder for what is recorded")
    parser.add_argument("--log", type=Path, help="file for the gateway's log")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another variable")
    parser.add_argument("--wait", action="store_true", help="record nothing, run until interrupted")
    parser.add_argument("command", nargs="+")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
