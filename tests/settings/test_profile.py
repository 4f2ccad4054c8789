"""The Spring environment: what makes it, what says that it is none, and which defaults it changes."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from gateway.composition.live_settings import config_request
from gateway.errors import SettingsError
from gateway.proxy.security_headers import CACHING, SecurityHeaders, security_headers
from gateway.settings.model import TABLE, Settings, check
from gateway.settings.profile import SHIPPED_ROUTES, spring_lines, spring_reason
from gateway.settings.types import ConfigImport

DOCS = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
OWN = {"ROUTES_FILE": "own.yaml"}
ON: dict[str, Any] = {
    "eureka_client_serviceurl_defaultzone": ("http://localhost:8761/eureka/",),
    "zipkin_endpoint": "http://localhost:9411/api/v2/spans",
    "proxy_response_timeout_seconds": math.inf,
    "metrics_spring_names": True,
}
OFF: dict[str, Any] = {
    "eureka_client_serviceurl_defaultzone": (),
    "zipkin_endpoint": None,
    "proxy_response_timeout_seconds": 30.0,
    "metrics_spring_names": False,
}


def defaults(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ON}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without routes.yaml the shipped routes are in use."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("environ", "because"),
    [
        ({"SPRING_PROFILES_ACTIVE": "prod"}, "SPRING_PROFILES_ACTIVE is set"),
        ({"spring.profiles.active": "prod"}, "spring.profiles.active is set"),
        ({"Spring_Application_Json": "{}"}, "Spring_Application_Json is set"),
        ({"spring.data.redis.cluster.nodes[0]": "h:1"}, "spring.data.redis.cluster.nodes[0] is set"),
        ({"EUREKA_INSTANCE_PREFER_IP_ADDRESS": "true"}, "EUREKA_INSTANCE_PREFER_IP_ADDRESS is set"),
        ({"eureka.client.enabled": "false"}, "eureka.client.enabled is set"),
        ({"SPRING_DATA_REDIS_PORT": "6379"}, "SPRING_DATA_REDIS_PORT is set"),
        ({"SPRING_A": "1", "EUREKA_B": "1"}, "EUREKA_B, SPRING_A are set"),
        (dict.fromkeys(("SPRING_A", "SPRING_B", "SPRING_C", "EUREKA_D"), "1"), "EUREKA_D, SPRING_A, SPRING_B and 1 "),
        ({"GATEWAY_PROFILE": "spring"}, "GATEWAY_PROFILE is spring"),
        ({"GATEWAY_PROFILE": " Spring "}, "GATEWAY_PROFILE is spring"),
    ],
)  # fmt: skip
def test_a_variable_of_springs_or_the_profile_makes_it_one(environ: dict[str, str], because: str) -> None:
    settings = Settings.from_env(OWN | environ)
    assert settings.spring_environment
    assert settings.spring_because.startswith(because)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SPRING_PROFILES_ACTIVE": ""},
        {"SPRING_PROFILES_ACTIVE": "  "},
        {"EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": ""},
        {"MY_SPRING_THING": "1", "SPRINGFIELD": "1", "EUREKA": "1"},
        # What Kubernetes sets for services named eureka and spring-admin.
        {
            "EUREKA_SERVICE_HOST": "10.0.0.1",
            "EUREKA_SERVICE_PORT": "8761",
            "EUREKA_SERVICE_PORT_HTTP": "8761",
            "EUREKA_PORT": "tcp://10.0.0.1:8761",
            "EUREKA_PORT_8761_TCP": "tcp://10.0.0.1:8761",
            "EUREKA_PORT_8761_TCP_ADDR": "10.0.0.1",
            "SPRING_ADMIN_SERVICE_HOST": "10.0.0.2",
        },
        {"SPRING_PROFILES_ACTIVE": "prod", "GATEWAY_PROFILE": "plain"},
        {"ROUTES_FILE": "", "GATEWAY_PROFILE": "plain"},
    ],
)
def test_nothing_else_does(environ: dict[str, str]) -> None:
    settings = Settings.from_env(OWN | environ)
    assert (settings.spring_environment, settings.spring_because) == (False, "")
    assert defaults(settings) == OFF
    assert settings.spring_config_import is None


def test_the_shipped_routes_make_it_one_until_they_are_changed() -> None:
    because = "the routes are those that are shipped"
    assert Settings.from_env({}).spring_because == because
    copy = Path("copy.yaml")
    shutil.copy(SHIPPED_ROUTES, copy)
    environ = {"ROUTES_FILE": str(copy)}
    assert Settings.from_env(environ).spring_because == because, "as in an image"
    copy.write_bytes(SHIPPED_ROUTES.read_bytes().replace(b"auth", b"AUTH"))
    assert not Settings.from_env(environ).spring_environment
    Path("routes.yaml").write_text("routes: []")
    assert not Settings.from_env({}).spring_environment


@pytest.mark.parametrize("file", [".", "none.yaml", "/dev/zero", "x\0y"])
def test_a_route_file_that_is_none_is_not_the_shipped_one(file: str) -> None:
    assert spring_reason({"ROUTES_FILE": file}) == ""


def test_only_names_are_told_and_only_sound_ones() -> None:
    environ = {"SPRING_DATA_REDIS_PASSWORD": "hunter2", "SPRING_\n_X": "hunter2", "SPRING_\x1b[0m": "1"}
    because = spring_reason(environ)
    assert because == "SPRING_…, SPRING_…, SPRING_DATA_REDIS_PASSWORD are set"
    assert spring_reason({"EUREKA_ ": "hunter2"}) == "SPRING_… is set"
    (line,) = spring_lines(because)
    assert line.startswith(f"Spring environment: on, because {because}; ")
    assert spring_lines("") == []


def test_its_defaults_are_springs_and_what_is_set_counts() -> None:
    assert defaults(Settings.from_env({"GATEWAY_PROFILE": "spring"})) == ON
    said = {
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "http://eureka/",
        "ZIPKIN_ENDPOINT": "",
        "PROXY_RESPONSE_TIMEOUT_SECONDS": "5",
        "METRICS_SPRING_NAMES": "false",
    }
    assert defaults(Settings.from_env(said)) == {
        "eureka_client_serviceurl_defaultzone": ("http://eureka/",),
        "zipkin_endpoint": None,
        "proxy_response_timeout_seconds": 5.0,
        "metrics_spring_names": False,
    }


@pytest.mark.parametrize(
    ("environ", "imported"),
    [
        ({"SPRING_PROFILES_ACTIVE": "prod"}, ConfigImport(True, ())),
        ({"spring.profiles.active": "prod"}, ConfigImport(True, ())),
        ({"EUREKA_FETCH": "true"}, None),
        ({"GATEWAY_PROFILE": "spring"}, None),
        ({"SPRING_PROFILES_ACTIVE": "prod", "GATEWAY_PROFILE": "plain"}, None),
        ({"SPRING_PROFILES_ACTIVE": "prod", "SPRING_CONFIG_IMPORT": ""}, None),
        ({"SPRING_CLOUD_CONFIG_ENABLED": "false"}, None),
        ({"spring.cloud.config.enabled": "False"}, None),
        ({"SPRING_CLOUD_CONFIG_ENABLED": "off"}, None),
        ({"SPRING_CLOUD_CONFIG_ENABLED": "true"}, ConfigImport(True, ())),
        ({"SPRING_CONFIG_IMPORT": "configserver:http://c"}, ConfigImport(False, ("http://c",))),
    ],
)
def test_a_variable_of_spring_itself_imports_from_a_config_server(
    environ: dict[str, str], imported: ConfigImport | None
) -> None:
    settings = Settings.from_env(OWN | environ)
    assert settings.spring_config_import == imported
    asked = config_request(settings)
    assert (asked.urls if asked else None) == (imported and (imported.urls or ("http://localhost:8888",)))


@pytest.mark.parametrize(
    ("json", "profile", "because"),
    [
        ('{"GATEWAY_PROFILE": "plain"}', None, ""),
        ('{"GATEWAY_PROFILE": "spring"}', None, "GATEWAY_PROFILE is spring"),
        # What stands in the JSON counts before the variable.
        ('{"GATEWAY_PROFILE": "plain"}', "spring", ""),
        ('{"GATEWAY_PROFILE": "spring"}', "plain", "GATEWAY_PROFILE is spring"),
        ('{"SPRING_A": 1, "eureka.client.enabled": true}', None, "SPRING_APPLICATION_JSON is set"),
    ],
)
def test_the_profile_may_stand_in_the_json(json: str, profile: str | None, because: str) -> None:
    environ = {"SPRING_APPLICATION_JSON": json} | ({"GATEWAY_PROFILE": profile} if profile else {})
    settings = Settings.from_env(OWN | environ)
    assert settings.spring_because == because
    assert defaults(settings) == (ON if because else OFF)
    assert check(OWN | environ) == []


def test_another_profile_is_refused() -> None:
    environ = {"GATEWAY_PROFILE": "prod"}
    with pytest.raises(SettingsError, match="GATEWAY_PROFILE='prod': allowed is spring or plain"):
        Settings.from_env(environ)
    assert [fault.variable for fault in check(environ)] == ["GATEWAY_PROFILE"]


def test_the_docs_have_each_default_that_changes() -> None:
    rows = dict(
        re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| .* \|$", DOCS.partition("## Server\n")[0], re.MULTILINE)
    )
    changing = {row.name for row in TABLE if row.default_in(True) != row.default}
    assert changing | {"SPRING_CONFIG_IMPORT", "JWT_JWKS_URI"} == set(rows)
    for row in TABLE:
        if row.name in changing and isinstance(row.spring, str | tuple):
            assert (
                f"`{','.join(row.spring) if isinstance(row.spring, tuple) else row.spring}`" in rows[row.name]
            )
            assert str(row.spring[0] if isinstance(row.spring, tuple) else row.spring) in str(
                row.default_words
            )


class TestHeaders:
    """What Spring Security's writers add to which answer."""

    PLAIN = (
        (b"Cache-Control", b"no-cache, no-store, max-age=0, must-revalidate"),
        (b"Pragma", b"no-cache"),
        (b"Expires", b"0"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"X-Frame-Options", b"DENY"),
        (b"X-XSS-Protection", b"0"),
        (b"Referrer-Policy", b"no-referrer"),
    )
    STRICT = (b"Strict-Transport-Security", b"max-age=31536000 ; includeSubDomains")

    def added(self, *names: bytes, status: int = 200, security: SecurityHeaders | None = None) -> list[bytes]:
        security = security or security_headers(strict_transport=False)
        return [name for name, _ in security.missing_from(names, status)]

    def test_all_are_added_to_an_answer_that_has_none(self) -> None:
        security = security_headers(strict_transport=False)
        assert security.missing_from([b"content-type", b"x-other"], 200) == self.PLAIN
        assert security.over_tls is security

    @pytest.mark.parametrize("name", [name for name, _ in CACHING])
    def test_one_about_caching_keeps_all_three_away(self, name: str) -> None:
        assert self.added(name.lower().encode()) == [name for name, _ in self.PLAIN[3:]]

    @pytest.mark.parametrize("at", range(3, 7))
    def test_any_other_keeps_only_itself_away(self, at: int) -> None:
        kept = [name for name, _ in self.PLAIN]
        assert self.added(self.PLAIN[at][0].lower()) == kept[:at] + kept[at + 1 :]

    def test_a_304_gets_none_about_caching(self) -> None:
        assert self.added(status=304) == [name for name, _ in self.PLAIN[3:]]

    def test_a_header_that_a_page_of_the_gateway_has_stays(self) -> None:
        """The waiting page needs its Referrer-Policy, and the preview at the desk the hashes of its styles."""
        security = security_headers(strict_transport=False)
        headers = CIMultiDict(
            {"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Frame-Options": "SAMEORIGIN"}
        )
        security.add_missing(headers, 200, own=True)
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"].startswith("no-cache, no-store")
        assert len(headers) == len(set(headers))

    def test_strict_transport_is_for_https_alone(self) -> None:
        security = security_headers(strict_transport=True)
        assert security.missing_from([], 200) == self.PLAIN
        assert security.over_tls.missing_from([], 200) == (*self.PLAIN, self.STRICT)
        assert security.over_tls.missing_from([b"strict-transport-security"], 200) == self.PLAIN

    def test_the_docs_have_them(self) -> None:
        assert all(f"`{value.decode()}`" in DOCS for _, value in (*self.PLAIN, self.STRICT))
