"""Who gets the spans: addresses, files that can't be used, a missing package, and the gateway's own name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli.main import main
from gateway.composition.tracing import otlp_of, resource_of, zipkin_of
from gateway.errors import SettingsError
from gateway.settings.model import Settings
from tests.support.authority import Authority
from tests.support.gateway_process import gateway_process

OTLP = "OTEL_EXPORTER_OTLP_"


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"ENDPOINT": "http://a:4318"}, "http://a:4318/v1/traces"),
        ({"ENDPOINT": "http://a:4318/"}, "http://a:4318/v1/traces"),
        ({"ENDPOINT": "https://a/otlp"}, "https://a/otlp/v1/traces"),
        ({"TRACES_ENDPOINT": "http://a:4318"}, "http://a:4318"),
        ({"ENDPOINT": "http://a:4318", "TRACES_ENDPOINT": "http://b/x"}, "http://b/x"),
    ],
)
def test_the_path_is_appended_to_the_general_address_only(environ: dict[str, str], address: str) -> None:
    receiver = otlp_of(Settings.from_env({OTLP + name: text for name, text in environ.items()}))
    assert receiver is not None
    assert receiver.endpoint == address
    assert address not in repr(receiver)


def test_without_an_address_nobody_gets_spans_and_with_the_switch_neither() -> None:
    assert otlp_of(Settings.from_env({})) is None
    environ = {f"{OTLP}ENDPOINT": "http://a", "ZIPKIN_ENDPOINT": "http://b"}
    settings = Settings.from_env(environ | {"OTEL_SDK_DISABLED": "true"})
    assert (otlp_of(settings), zipkin_of(settings)) == (None, None)
    assert zipkin_of(Settings.from_env(environ)) == "http://b"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "gateway-server"),
        ({"SPRING_APPLICATION_NAME": "a"}, "a"),
        ({"SPRING_APPLICATION_NAME": "a", "OTEL_RESOURCE_ATTRIBUTES": "service.name=b"}, "b"),
        ({"OTEL_SERVICE_NAME": "c", "OTEL_RESOURCE_ATTRIBUTES": "service.name=b"}, "c"),
    ],
)
def test_the_gateway_has_one_name(environ: dict[str, str], name: str) -> None:
    assert resource_of(Settings.from_env(environ)) == {"service.name": name, "service.version": __version__}


def faults(environ: dict[str, str]) -> SettingsError | None:
    try:
        otlp_of(Settings.from_env({f"{OTLP}ENDPOINT": "https://a"} | environ))
    except SettingsError as error:
        return error
    return None


def test_files_that_can_t_be_used_are_told_by_their_variable(tmp_path: Path) -> None:
    authority = Authority("a")
    certificate, key = authority.issue("client").write(tmp_path, "client")
    _, other = authority.issue("other").write(tmp_path, "other")
    own = authority.write(tmp_path)
    garbage = tmp_path / "garbage"
    garbage.write_text("garbage")
    tries: list[tuple[dict[str, Path], str | None]] = [
        ({"CERTIFICATE": own, "CLIENT_CERTIFICATE": certificate, "CLIENT_KEY": key}, None),
        ({"CERTIFICATE": tmp_path / "none"}, "TRACES_CERTIFICATE"),
        ({"CERTIFICATE": garbage}, "TRACES_CERTIFICATE"),
        ({"CERTIFICATE": tmp_path}, "TRACES_CERTIFICATE"),
        ({"CLIENT_KEY": key}, "TRACES_CLIENT_KEY"),
        ({"CLIENT_CERTIFICATE": certificate}, "TRACES_CLIENT_CERTIFICATE"),
        ({"CLIENT_CERTIFICATE": certificate, "CLIENT_KEY": other}, "TRACES_CLIENT_CERTIFICATE"),
        ({"CLIENT_CERTIFICATE": certificate, "CLIENT_KEY": tmp_path / "none"}, "TRACES_CLIENT_KEY"),
        ({"CLIENT_CERTIFICATE": garbage, "CLIENT_KEY": key}, "TRACES_CLIENT_CERTIFICATE"),
    ]
    for files, variable in tries:
        error = faults({OTLP + name: str(path) for name, path in files.items()})
        assert (error and error.variable) == (variable and OTLP + variable), files


def test_a_missing_package_is_told_in_one_line_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hide_the_package(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name in ("ENDPOINT", "TRACES_ENDPOINT"):
        with monkeypatch.context() as patch:
            patch.setenv(OTLP + name, "http://me:hunter2@a:4318")
            with pytest.raises(SystemExit) as ended:
                sys.exit(main(["check"]))
        assert ended.value.code
        said = "".join(capsys.readouterr())
        [line] = [line for line in said.splitlines() if "otlp" in line.lower()]
        assert line.startswith(f"{OTLP}{name}=")
        assert "pip install 'waiting-room-gateway[otlp]'" in line
        assert "hunter2" not in line


def hide_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package were not installed: its modules can't be found."""
    for name in list(sys.modules):
        if name.startswith("opentelemetry.exporter"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)


async def test_a_gateway_without_the_package_does_not_start(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.exporter'] = None\n", encoding="utf-8"
    )
    environ = {"REDIS_URL": redis_url, f"{OTLP}ENDPOINT": "http://127.0.0.1:1", "PYTHONPATH": str(tmp_path)}
    async with gateway_process(environ, tmp_path, wait=False) as gateway:
        assert await gateway.ended() == 2
    assert any("waiting-room-gateway[otlp]" in line for line in gateway.lines)
