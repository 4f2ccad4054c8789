"""The operator's desk over HTTP: who gets in, what a session may do, and what it may not."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.api import desk, desk_stream
from gateway.app import OPERATORS_FILE, SETTINGS, create_management_app, management_endpoints
from gateway.auth import desk as sessions
from gateway.context import ROOMS
from gateway.fair_places import FairPlaces
from gateway.middleware import access_log
from gateway.serve import runner_of
from tests.support.gateway import ROUTES, Gateways, Running, Stream
from tests.support.listening import listening
from tests.support.waiting import eventually

TOKEN, ANNA, BOB = "operator-token-of-the-test", "annas-token-of-the-test", "bobs-token-of-the-test"
ROOM = "/desk/api/rooms/default"
CORS = """
cors:
  add-to-simple-url-handler-mapping: true
  cors-configurations:
    "[/**]": {allowedOrigins: ["http://evil.example"], allowedMethods: "*", allowedHeaders: "*", allowCredentials: true}
"""


def write_operators(path: Path, *people: tuple[str, str, str]) -> None:
    entries = (
        f"- {{name: {name}, role: {role}, sha256: '{hashlib.sha256(token.encode()).hexdigest()}'}}\n"
        for name, role, token in people
    )
    path.write_text("operators:\n" + "".join(entries))


@pytest.fixture
def operators(tmp_path: Path) -> Path:
    path = tmp_path / "operators.yaml"
    write_operators(path, ("anna", "act", ANNA), ("bob", "watch", BOB))
    return path


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Browser:
    """A client that sends the cookie and the token of a session by hand, so that tests can leave either out."""

    def __init__(self, gateway: Running, base: str = "") -> None:
        self.gateway, self.base = gateway, base or gateway.base
        self.cookie = self.csrf = ""
        self.data: dict[str, Any] = {}

    async def __call__(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        own = {"Cookie": self.cookie} if self.cookie else {}
        if self.csrf and method != "GET":
            own["X-CSRF-Token"] = self.csrf
        async with self.gateway.session.request(
            method, self.base + path, headers=own | dict(headers or {}), allow_redirects=False, **options
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def sign_in(self, token: str, headers: Mapping[str, str] | None = None) -> Answer:
        answer = await self("POST", "/desk/session", headers, json={"token": token})
        if answer.status == 200:
            self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
            self.data = answer.json["data"]
            self.csrf = self.data["csrfToken"]
        return answer


async def signed_in(gateway: Running, token: str = TOKEN) -> Browser:
    browser = Browser(gateway)
    assert (await browser.sign_in(token)).status == 200
    return browser


async def test_without_an_operator_there_is_no_desk(gateways: Gateways) -> None:
    browser = Browser(await gateways.start(desk=True))
    for method, path in (("GET", "/desk"), ("POST", "/desk/session"), ("GET", f"{ROOM}/events")):
        assert (await browser(method, path)).code == "ROUTE_NOT_FOUND"


async def test_the_desk_is_on_the_management_port_and_elsewhere_only_if_the_setting_says_so(
    gateways: Gateways,
) -> None:
    gateway = await gateways.start(management_token=TOKEN, management_server_port=0)
    async with listening(runner_of(create_management_app(gateway.app))) as management:
        browser = Browser(gateway, management)
        assert (await browser("GET", "/desk")).status == 200
        assert (await browser.sign_in(TOKEN)).status == 200
        assert (await browser("POST", f"{ROOM}/pause", json={})).status == 200
    # On the public port /desk may be a path of a service.
    assert (await Browser(gateway)("GET", "/desk")).code == "TOKEN_REQUIRED"
    assert (await Browser(await gateways.start(management_token=TOKEN))("GET", "/desk")).status == 401
    assert (
        await Browser(await gateways.start(desk=True, management_token=TOKEN))("GET", "/desk/")
    ).status == 200


async def test_the_page_and_its_files_are_served_with_a_strict_policy(gateways: Gateways) -> None:
    browser = Browser(await gateways.start(desk=True, management_token=TOKEN))
    page = await browser("GET", "/desk")
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert {"script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"} <= {
        *policy
    }
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "no-store" in page.headers["Cache-Control"]
    html = page.body.decode()
    # Otherwise the token would be in an address if the form was sent without the script.
    assert '<form id="sign-in-form" method="post" action="/desk/session">' in html
    assert "<style" not in html
    assert " style=" not in html
    assets = set(re.findall(r'"(/desk/assets/[^"]+)"', html))
    assert len(assets) == 3
    for path in sorted(assets):
        answer = await browser("GET", path)
        assert (answer.status, "immutable" in answer.headers["Cache-Control"]) == (200, True)
        assets_of_it = re.findall(rb'from "\./([^"]+)"', answer.body)
        for name in assets_of_it:
            assert (await browser("GET", f"/desk/assets/{name.decode()}")).status == 200
    missing = await browser("GET", "/desk/assets/desk.js")
    assert (missing.code, "no-store" in missing.headers["Cache-Control"]) == ("ROUTE_NOT_FOUND", True)


async def test_every_answer_has_the_headers_of_the_desk(gateways: Gateways) -> None:
    browser = Browser(await gateways.start(desk=True, management_token=TOKEN, gateway_profile="spring"))
    wrong = await browser.sign_in("wrong")
    right = await browser.sign_in(TOKEN)
    answers = [wrong, right, await browser("GET", f"{ROOM}/audit"), await browser("GET", f"{ROOM}/forecast")]
    assert [answer.status for answer in answers] == [401, 200, 200, 400]
    for answer in answers:
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in answer.headers["Cache-Control"]


async def test_a_token_signs_in_by_json_and_by_a_form(gateways: Gateways, operators: Path) -> None:
    gateway = await gateways.start(desk=True, operators_file=operators, management_token=TOKEN)
    browser = Browser(gateway)
    answer = await browser.sign_in(ANNA)
    data = answer.json["data"]
    assert (data["operator"], data["role"], data["rooms"]) == ("anna", "act", ["default"])
    assert {"pause", "resume", "close", "reopen", "sold-out", "empty", "set", "remove"} <= {*data["acts"]}
    cookie = answer.headers["Set-Cookie"]
    assert re.fullmatch(r"desk=desk-[\w-]{43}; Path=/desk; Max-Age=43200; HttpOnly; SameSite=Strict", cookie)
    shown = (await browser("GET", "/desk/session")).json["data"]
    assert abs(shown.pop("expiresAt") - data.pop("expiresAt")) < 60_000
    assert shown == data
    form = await browser("POST", "/desk/session", data={"token": TOKEN})
    assert (form.status, form.json["data"]["operator"]) == (200, "management")
    page = await browser("POST", "/desk/session", {"Sec-Fetch-Mode": "navigate"}, data={"token": TOKEN})
    assert (page.status, page.headers["Location"]) == (303, "/desk")


async def test_over_tls_the_cookie_is_bound_to_the_host(gateways: Gateways) -> None:
    gateway = await gateways.start(
        desk=True, management_token=TOKEN, trusted_proxies="127.0.0.1/32", desk_hosts="desk.example.com"
    )
    tls = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "desk.example.com"}
    browser = Browser(gateway)
    cookie = (await browser.sign_in(TOKEN, tls)).headers["Set-Cookie"]
    assert re.fullmatch(
        r"__Host-desk=desk-[\w-]{43}; Path=/; Max-Age=43200; Secure; HttpOnly; SameSite=Strict", cookie
    )
    assert (await browser("GET", "/desk/session", tls)).status == 200
    # Only the cookie of the connection's kind counts.
    assert (await browser("GET", "/desk/session")).code == "SESSION_REQUIRED"


async def test_wrong_tokens_count_together_with_those_of_other_calls(gateways: Gateways) -> None:
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser = Browser(gateway)
    for _ in range(5):
        assert (await browser.sign_in("wrong")).code == "TOKEN_INVALID"
        assert (
            await gateway.with_token("wrong")("GET", "/actuator/rooms/default/audit")
        ).code == "TOKEN_INVALID"
    refused = await browser.sign_in("wrong")
    assert (refused.status, refused.code) == (429, "TOO_MANY_WRONG_TOKENS")
    assert (await browser.sign_in(TOKEN)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"token": 1}',
        b'{"token": ""}',
        b'{"token": "a b"}',
        b'{"token": "\\ud800"}',
        b'{"token": "a\\udc80b"}',
        b"\xff",
        b'{"token": "a", "x": 1}',
    ],
)
async def test_a_body_without_one_token_is_refused(gateways: Gateways, body: bytes) -> None:
    browser = Browser(await gateways.start(desk=True, management_token=TOKEN))
    answer = await browser("POST", "/desk/session", {"Content-Type": "application/json"}, data=body)
    assert (answer.code, answer.json["error"]["fields"][0]["field"]) == ("BAD_REQUEST", "token")
    long = await browser("POST", "/desk/session", json={"token": "x" * 9000})
    assert long.status == 413
    twice = await browser("POST", "/desk/session", data=[("token", TOKEN), ("token", TOKEN)])
    assert twice.status == 400


async def test_a_session_is_not_valid_at_the_actuator_and_an_operators_token_is_none(
    gateways: Gateways,
) -> None:
    gateway = await gateways.start(desk=True, management_token=TOKEN, management_reads="token")
    browser = await signed_in(gateway)
    assert (await browser("GET", "/actuator/rooms")).code == "TOKEN_REQUIRED"
    assert (await browser("POST", "/actuator/rooms/default", json={"capacity": 7})).code == "TOKEN_REQUIRED"
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert (await Browser(gateway)("GET", ROOM, bearer)).code == "SESSION_REQUIRED"
    token = browser.cookie.partition("=")[2]
    assert (await gateway.with_token(token)("GET", "/actuator/rooms")).code == "TOKEN_INVALID"


async def test_a_change_needs_the_token_of_its_session(gateways: Gateways) -> None:
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser, other = await signed_in(gateway), await signed_in(gateway)
    right = browser.csrf
    for wrong in ("", right[:-1], right.upper(), other.csrf, f"{right}, {right}"):
        browser.csrf = wrong
        for method, path in (
            ("POST", f"{ROOM}/pause"),
            ("DELETE", f"{ROOM}/users?id=u"),
            ("DELETE", "/desk/session"),
        ):
            answer = await browser(method, path, json={} if method == "POST" else None)
            assert (answer.status, answer.code) == (403, "CSRF_REJECTED")
    browser.csrf = right
    assert (await browser("POST", f"{ROOM}/pause", json={"reason": "a test"})).json["data"]["paused"] is True
    audit = (await browser("GET", f"{ROOM}/audit")).json["data"]
    assert [(each["by"], each["act"], each["reason"]) for each in audit] == [
        ("management", "pause", "a test")
    ]


def test_a_token_of_bytes_that_are_no_text_is_a_wrong_one() -> None:
    assert not sessions.may_change("desk-x", ["\udcff\udcfe"])
    assert sessions.may_change("desk-x", [sessions.csrf_token_of("desk-x")])


async def test_another_site_can_sign_nobody_in(gateways: Gateways) -> None:
    browser = Browser(await gateways.start(desk=True, management_token=TOKEN))
    for site in ("cross-site", "same-site", "bogus"):
        assert (await browser.sign_in(TOKEN, {"Sec-Fetch-Site": site})).code == "CSRF_REJECTED"
    assert (await browser.sign_in(TOKEN, {"Sec-Fetch-Site": "same-origin"})).status == 200


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://desk.example.com:8081", True),
        ("http://evil.example", False),
        ("http://desk.example.com:3000", False),
        ("https://desk.example.com:8081", False),
        ("http://desk.example.com.evil.example:8081", False),
        ("null", False),
        ("", False),
    ],
)
async def test_without_tls_the_origin_alone_says_who_signs_in(
    gateways: Gateways, origin: str, allowed: bool
) -> None:
    """Browsers send no ``Sec-Fetch-Site`` to a host without TLS, unless it is the machine itself."""
    gateway = await gateways.start(
        ROUTES + CORS,
        desk=True,
        management_token=TOKEN,
        desk_hosts="desk.example.com",
    )
    page = {"Host": "desk.example.com:8081", "Origin": origin}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    text = {"Content-Type": "text/plain"}
    for headers, body in (
        (page, json.dumps({"token": TOKEN})),
        (page | form, f"token={TOKEN}"),
        (page | text, json.dumps({"token": TOKEN})),
    ):
        answer = await Browser(gateway)("POST", "/desk/session", headers, data=body)
        assert (answer.status, "Set-Cookie" in answer.headers) == ((200, True) if allowed else (403, False))


async def test_who_may_only_look_sees_no_acts_and_changes_nothing(
    gateways: Gateways, operators: Path
) -> None:
    gateway = await gateways.start(desk=True, operators_file=operators)
    browser = await signed_in(gateway, BOB)
    assert (browser.data["role"], browser.data["acts"]) == ("watch", [])
    for path in (ROOM, f"{ROOM}/pause", f"{ROOM}/sold-out", f"{ROOM}/invite"):
        assert (await browser("POST", path, json={})).code == "ROLE_NOT_ALLOWED"
    assert (await browser("DELETE", f"{ROOM}/users?id=u")).code == "ROLE_NOT_ALLOWED"
    for path in (ROOM, f"{ROOM}/audit", f"{ROOM}/report", f"{ROOM}/users?id=u", f"{ROOM}/forecast?act=pause"):
        assert (await browser("GET", path)).status == 200
    assert (await browser("DELETE", "/desk/session")).status == 200


async def test_every_call_asks_for_session_host_token_and_role(gateways: Gateways, operators: Path) -> None:
    gateway = await gateways.start(desk=True, operators_file=operators)
    anna, bob = await signed_in(gateway, ANNA), await signed_in(gateway, BOB)
    stranger = Browser(gateway)
    calls = [
        (each.method, each.path.replace("{room}", "default"))
        for each in desk.endpoints(management_endpoints(gateway.app[SETTINGS]))
        if each.auth != "desk_open"
    ]
    assert len(calls) > 20
    for method, path in calls:
        assert (await stranger(method, path)).code == "SESSION_REQUIRED"
        assert (await anna(method, path, {"Host": "evil.example"})).code == "HOST_NOT_ALLOWED"
        if method == "GET" or path == "/desk/session":
            continue
        assert (await bob(method, path)).code == "ROLE_NOT_ALLOWED"
        # A token of another session, or none.
        for csrf in ("", bob.csrf):
            answer = await anna(method, path, {"X-CSRF-Token": csrf})
            assert (answer.status, answer.code) == (403, "CSRF_REJECTED")


async def test_a_session_that_was_planted_before_the_sign_in_stays_none(gateways: Gateways) -> None:
    browser = Browser(await gateways.start(desk=True, management_token=TOKEN))
    planted = "desk=desk-" + 43 * "A"
    answer = await browser.sign_in(TOKEN, {"Cookie": planted})
    assert answer.headers["Set-Cookie"].partition(";")[0] != planted
    browser.cookie = planted
    assert (await browser("GET", ROOM)).code == "SESSION_REQUIRED"


async def test_signing_in_ends_the_former_session_of_the_browser_and_no_other_one(
    gateways: Gateways, operators: Path
) -> None:
    gateway = await gateways.start(desk=True, operators_file=operators)
    other, shared = await signed_in(gateway, ANNA), await signed_in(gateway, ANNA)
    former = shared.cookie
    assert (await shared.sign_in("wrong")).status == 401
    assert (await shared("GET", ROOM)).status == 200
    assert (await shared.sign_in(BOB)).status == 200
    assert (await shared("GET", ROOM, {"Cookie": former})).code == "SESSION_REQUIRED"
    assert [(await each("GET", ROOM)).status for each in (shared, other)] == [200, 200]


async def test_a_session_is_one_of_all_instances_until_it_is_ended(gateways: Gateways) -> None:
    here, there = [await gateways.start(desk=True, management_token=TOKEN) for _ in range(2)]
    browser = await signed_in(here)
    elsewhere = Browser(there)
    elsewhere.cookie, elsewhere.csrf = browser.cookie, browser.csrf
    assert (await elsewhere("POST", f"{ROOM}/pause", json={})).status == 200
    ended = await elsewhere("DELETE", "/desk/session")
    assert ended.headers["Set-Cookie"].startswith("desk=; Path=/desk; Max-Age=0;")
    assert (await browser("GET", ROOM)).code == "SESSION_REQUIRED"


async def test_redis_knows_no_session_but_by_its_hash(gateways: Gateways, redis: Redis) -> None:
    browser = await signed_in(await gateways.start(desk=True, management_token=TOKEN))
    token = browser.cookie.partition("=")[2]
    stored = await redis.hgetall("gw:{desk}:sessions")
    assert len(stored) == 1
    assert await redis.pttl("gw:{desk}:sessions") > 0
    text = repr(stored)
    for secret in (token, browser.csrf, TOKEN, hashlib.sha256(TOKEN.encode()).hexdigest()):
        assert secret not in text


async def test_a_session_ends_after_its_time_however_busy(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSION_SECONDS", 0.3)
    browser = await signed_in(await gateways.start(desk=True, management_token=TOKEN))

    async def over() -> bool:
        return (await browser("GET", ROOM)).status == 401

    await eventually(over)


async def test_a_session_ends_with_the_operators_entry(gateways: Gateways, operators: Path) -> None:
    gateway = await gateways.start(desk=True, operators_file=operators, management_token=TOKEN)
    anna, bob, management = [await signed_in(gateway, token) for token in (ANNA, BOB, TOKEN)]
    # Anna has a new token, and Bob is gone.
    write_operators(operators, ("anna", "act", "annas-new-token-of-the-test"))
    gateway.app[OPERATORS_FILE].reload()

    async def over() -> bool:
        return [(await each("GET", ROOM)).status for each in (anna, bob, management)] == [401, 401, 200]

    await eventually(over)


@pytest.mark.parametrize(
    "cookie",
    [
        "desk=",
        "desk=desk-x",
        "desk={half}",
        "desk={token}x",
        "Desk={token}",
        "__Host-desk={token}",
        "desk={token}; desk={token}",
        "desk={token}; desk=x",
        "desk2={token}",
        "visitor={token}",
    ],
)
async def test_no_other_cookie_is_a_session(gateways: Gateways, cookie: str) -> None:
    browser = await signed_in(await gateways.start(desk=True, management_token=TOKEN))
    token = browser.cookie.partition("=")[2]
    browser.cookie = cookie.format(token=token, half=token[:20])
    assert (await browser("GET", ROOM)).code == "SESSION_REQUIRED"
    assert (await browser("POST", f"{ROOM}/pause", json={})).code == "SESSION_REQUIRED"


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("localhost", True),
        ("LOCALHOST:1234", True),
        ("gateway.localhost", True),
        ("127.0.0.1:8081", True),
        ("127.9.9.9", True),
        ("[::1]:8081", True),
        ("desk.example.com", True),
        ("Desk.Example.com:443", True),
        ("desk.example.com.", True),
        ("evil.example", False),
        ("desk.example.com.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
        ("[::2]", False),
        ("a@localhost", False),
        ("[", False),
        ("", False),
    ],
)
async def test_an_unknown_host_is_refused(gateways: Gateways, host: str, answered: bool) -> None:
    gateway = await gateways.start(desk=True, management_token=TOKEN, desk_hosts="desk.example.com")
    browser = await signed_in(gateway)
    for method, path in (("GET", "/desk"), ("GET", ROOM), ("POST", "/desk/session")):
        answer = await browser(
            method, path, {"Host": host}, json={"token": TOKEN} if method == "POST" else None
        )
        if answered:
            assert answer.status == 200
        else:
            assert (answer.status, answer.code) in {(403, "HOST_NOT_ALLOWED"), (400, "BAD_REQUEST")}


async def test_services_never_see_a_session(gateways: Gateways) -> None:
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    cookie = f"a=1; {browser.cookie}; desk=the-services-own"
    await browser("GET", "/api/v1/products", {"Cookie": cookie})
    assert ("Cookie", "a=1; desk=the-services-own") in gateways.service.seen[-1]["headers"]


async def test_a_forecast_says_what_an_act_would_do(gateways: Gateways) -> None:
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    for at in range(4):
        await gateway.user(f"u{at}").lineup()
    ended = (await browser("GET", f"{ROOM}/forecast?act=sold-out")).json["data"]
    assert (ended["waiting"], ended["lose"], ended["after"]) == (3, 3, None)
    grown = (await browser("GET", f"{ROOM}/forecast?act=set&capacity=10")).json["data"]
    assert (grown["atOnce"], grown["after"]) == (3, 0)
    for query in ("", "?act=none", "?act=set&capacity=x", "?act=set&capacity=-1", "?act=set&duration=1e9"):
        assert (await browser("GET", f"{ROOM}/forecast{query}")).code == "BAD_REQUEST"
    assert (await gateway.user("u1").status()).json["state"] == "WAITING"


async def test_the_page_of_a_room_is_previewed_in_each_state(gateways: Gateways) -> None:
    routes = ROUTES + "rooms: {default: {page: {title: <b>Sale</b>}}}\n"
    gateway = await gateways.start(routes, desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    assert browser.data["pages"] == ["default"]
    for state in browser.data["pageStates"]:
        answer = await browser("GET", f"{ROOM}/page?state={state}&lang=ko")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b"&lt;b&gt;Sale" in answer.body
        assert b"<script" not in answer.body
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        # Otherwise the browser would show the page without its style.
        assert "style-src 'self' 'sha256-" in policy
    for query in ("", "?state=waiting", "?lang=ko", "?state=none&lang=ko", "?state=waiting&lang=xx"):
        assert (await browser("GET", f"{ROOM}/page{query}")).code == "BAD_REQUEST"
    without = await signed_in(await gateways.start(desk=True, management_token=TOKEN))
    assert without.data["pages"] == []
    assert (await without("GET", f"{ROOM}/page?state=waiting&lang=ko")).code == "ROUTE_NOT_FOUND"


async def events_of(browser: Browser) -> Any:
    return await browser.gateway.session.get(
        f"{browser.base}{ROOM}/events", headers={"Cookie": browser.cookie}
    )


async def test_the_stream_tells_room_history_and_routes_as_they_change(gateways: Gateways) -> None:
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    async with await events_of(browser) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        stream = Stream(response)
        routes = (await stream.until("routes")).data
        assert {"route", "uri", "requestsPerMinute", "errorsPerMinute", "latencyP50", "latencyP95"} == {
            *routes[0]
        }
        history = (await stream.until("history")).data
        assert history[-1]["arrivals"] == 0
        for at in range(3):
            await gateway.user(f"u{at}").lineup()
        room = (await stream.until("room")).data
        while room["waiting"] < 2:
            room = (await stream.until("room")).data
        assert room["allowedIn"] == 1
        assert room["now"]["arrivalsPerMinute"] == 3
        await browser("POST", f"{ROOM}/pause", json={})
        while not room["paused"]:
            room = (await stream.until("room")).data


async def test_viewers_share_one_reader_and_without_viewers_nothing_is_read(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_stream, "EVERY_SECONDS", 0.05)
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    operations = gateway.app[ROOMS]["default"].operations
    calls, report = [0], operations.report

    async def counted(minutes: int) -> Any:
        calls[0] += 1
        return await report(minutes)

    monkeypatch.setattr(operations, "report", counted)
    readers = lambda: [task for task in asyncio.all_tasks() if task.get_name() == "desk default"]  # noqa: E731
    streams = [await events_of(browser) for _ in range(3)]
    for each in streams:
        await Stream(each).until("room")
    assert len(readers()) == 1
    for each in streams:
        each.close()
    await eventually(lambda: not readers())
    before = calls[0]
    async with await events_of(browser) as response:
        await Stream(response).until("room")
    assert calls[0] > before


async def test_the_log_says_how_much_a_viewer_was_sent_and_that_it_went(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[int, str]] = []

    def account(observers: Any, method: str, call: Any, status: int, size: int, end: str = "") -> None:
        if call.label == "desk.events":
            logged.append((size, end))

    monkeypatch.setattr(access_log, "account", account)
    monkeypatch.setattr(desk_stream, "CHECK_SECONDS", 0.05)
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    gone = await events_of(browser)
    await Stream(gone).until("room")
    gone.close()
    await eventually(lambda: len(logged) == 1)
    async with await events_of(browser) as response:
        stream = Stream(response)
        await stream.until("room")
        await browser("DELETE", "/desk/session")
        await stream.until("ended")
    await eventually(lambda: len(logged) == 2)
    assert min(size for size, _ in logged) > 1000
    assert [end for _, end in logged] == ["aborted", ""]


async def test_a_reader_that_fails_says_so_once_and_goes_on(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as by numbers of a minute that another program has written."""
    monkeypatch.setattr(desk_stream, "EVERY_SECONDS", 0.02)
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    operations = gateway.app[ROOMS]["default"].operations
    report, failures = operations.report, [0]

    async def failing(minutes: int) -> Any:
        failures[0] += 1
        if failures[0] <= 3:
            raise ValueError("no JSON")
        return await report(minutes)

    monkeypatch.setattr(operations, "report", failing)
    async with await events_of(browser) as response:
        stream = Stream(response)
        assert (await stream.until("trouble")).data["code"] == "INTERNAL_ERROR"
        await stream.until("room")
    assert sum("could not read room default" in line for line in caplog.messages) == 1


async def test_viewers_are_bounded(gateways: Gateways) -> None:
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    gateway.app[desk_stream.DESK_FEED]._viewers = FairPlaces(1)
    async with await events_of(browser) as response:
        await Stream(response).until("room")
        refused = await browser("GET", f"{ROOM}/events")
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (
            503,
            "TOO_MANY_VIEWERS",
            "10",
        )


async def test_one_operator_does_not_keep_the_others_from_looking(
    gateways: Gateways, operators: Path
) -> None:
    gateway = await gateways.start(desk=True, operators_file=operators)
    anna, bob = await signed_in(gateway, ANNA), await signed_in(gateway, BOB)
    gateway.app[desk_stream.DESK_FEED]._viewers = FairPlaces(4)
    held = [await events_of(anna) for _ in range(4)]
    for each in held:
        await Stream(each).until("room")
    # The other session of the same operator counts as the same one.
    again = await signed_in(gateway, ANNA)
    assert (await events_of(again)).status == 503
    first = await events_of(bob)
    await Stream(first).until("room")
    # What the first operator opened last has ended, and what was there before has not.
    async with asyncio.timeout(10):
        await held.pop().read()
    await Stream(held[0]).until("room")
    second = await events_of(bob)
    await Stream(second).until("room")
    async with asyncio.timeout(10):
        await held.pop().read()
    # Each has half of them.
    assert [(await events_of(each)).status for each in (anna, bob)] == [503, 503]
    second.close()
    await eventually(lambda: len(gateway.app[desk_stream.DESK_FEED]._viewers) == 3)
    third = await events_of(anna)
    await Stream(third).until("room")
    for each in (*held, first, third):
        each.close()


async def test_a_head_of_the_stream_has_an_end(gateways: Gateways) -> None:
    browser = await signed_in(await gateways.start(desk=True, management_token=TOKEN))
    answer = await browser("HEAD", f"{ROOM}/events")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


async def test_a_stream_ends_with_its_session_and_with_the_gateway(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_stream, "CHECK_SECONDS", 0.05)
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser, other = await signed_in(gateway), await signed_in(gateway)
    async with await events_of(browser) as response, await events_of(other) as second:
        stream = Stream(response)
        await stream.until("room")
        await browser("DELETE", "/desk/session")
        assert (await stream.until("ended")).data == {"code": "SESSION_REQUIRED"}
        assert await stream.next() is None
        gateway.app[desk_stream.DESK_FEED].close()
        async with asyncio.timeout(10):
            await second.read()
    assert (await events_of(other)).status == 503


async def test_the_desk_offers_every_act_of_the_api(gateways: Gateways) -> None:
    gateway = await gateways.start(desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    paths = {endpoint.path for endpoint in desk.endpoints(management_endpoints(gateway.app[SETTINGS]))}
    for act in set(browser.data["acts"]) - {"set", "remove"}:
        assert f"/desk/api/rooms/{{room}}/{act}" in paths
    assert (await browser("POST", ROOM, json={"capacity": 5})).json["data"]["capacity"] == 5
    await gateway.user("<b>u</b>").lineup()
    found = await browser("GET", f"{ROOM}/users", params={"id": "<b>u</b>"})
    assert found.json["data"]["state"] == "ALLOWED_IN"
    assert (await browser("DELETE", f"{ROOM}/users?id=%3Cb%3Eu%3C/b%3E")).status == 200


async def test_the_desk_shows_services_and_breakers_as_operators_see_them(gateways: Gateways) -> None:
    routes = ROUTES.replace(
        'reservations: ["%(service)s"]',
        'reservations: {instances: ["%(service)s", "http://127.0.0.1:1"], health: {path: /up, interval: 100ms}}',
    ).replace(
        "- id: seats\n",
        "- id: seats\n    filters: [{name: CircuitBreaker, args: {name: seats, timeoutDuration: 5s}}]\n",
    )
    gateway = await gateways.start(routes, desk=True, management_token=TOKEN)
    browser = await signed_in(gateway)
    assert (await gateway.user("u")("POST", "/api/v1/queue/lineup")).status == 200
    assert (await gateway.user("u")("GET", "/api/v1/reservation-seats/1")).status == 200

    async def settled() -> Any:
        data = (await browser("GET", "/desk/api/services")).json["data"]
        states = [each["state"] for each in data["services"][0]["instances"]]
        return data if states == ["healthy", "unhealthy"] else None

    data = await eventually(settled)
    [service] = data["services"]
    assert (service["service"], service["healthy"]) == ("reservations", 1)
    assert service["instances"][1].keys() == {"instance", "state", "requests", "since", "reason"}
    assert service["instances"][1]["reason"].startswith("no connection")
    assert [(each["name"], each["state"]) for each in data["breakers"]] == [("seats", "closed")]
    token = {"Authorization": f"Bearer {TOKEN}"}
    direct = await Browser(gateway)("GET", "/actuator/services", token)
    assert direct.json["data"]["services"][0]["healthy"] == 1
    assert (await Browser(gateway)("GET", "/actuator/services")).status == 401
    assert (await Browser(gateway)("GET", "/desk/api/services")).status == 401
    async with gateway.session.get(
        f"{gateway.base}{ROOM}/events", headers={"Cookie": browser.cookie}
    ) as response:
        event = await Stream(response).until("services")
        assert event.data["services"][0]["service"] == "reservations"
