"""The file of operators: its errors, its changes while a gateway runs, and what roles allow."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from gateway.app import METRICS, OPERATORS_FILE
from gateway.auth.operators import Operators
from gateway.composition.operators import OperatorsFile, OperatorsFileError, parse_operators, read_operators
from gateway.context import OPERATORS
from gateway.errors import GatewayError
from tests.support.gateway import Gateways
from tests.support.waiting import eventually

ANNA, BOB = "annas-token-of-the-test", "bobs-token-of-the-test"
TOKEN = "operator-token-of-the-test"


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def entry(name: str, role: str, token: str) -> str:
    return f"- {{name: {name}, role: {role}, sha256: {digest(token)!r}}}\n"


PEOPLE = "operators:\n" + entry("anna", "act", ANNA) + entry("bob", "watch", BOB)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "operators.yaml"
    path.write_text(PEOPLE)
    return path


def test_a_file_names_its_operators() -> None:
    anna, bob = parse_operators(PEOPLE.encode(), "o.yaml")
    assert (anna.name, anna.role, anna.sha256.hex()) == ("anna", "act", digest(ANNA))
    assert (bob.name, bob.role, bob.sha256.hex()) == ("bob", "watch", digest(BOB))
    assert parse_operators(b"operators: []", "o.yaml") == ()
    upper = PEOPLE.replace(digest(ANNA), digest(ANNA).upper())
    assert parse_operators(upper.encode(), "o.yaml") == (anna, bob)


ZEROS = "0" * 64
ERRORS = [
    ("", "1: write a list below 'operators'"),
    ("operators:", "1: write a list below 'operators'"),
    ("- a", "1: the file must be a mapping with the key 'operators'"),
    ("operators: {a: b}", "write a list below 'operators'"),
    ("operators: [hunter2]", "1: write a list below 'operators'"),
    ("operators: [", "2: while parsing"),
    (f"{PEOPLE}users: []", "4: the file may have no other key than 'operators'"),
    (
        f"operators:\n- {{name: a, role: act, sha256: '{ZEROS}', token: hunter2}}",
        "2: an operator has name, role",
    ),
    (f"operators:\n- {{role: act, sha256: '{ZEROS}'}}", "2: an operator needs a name"),
    (f"operators:\n- {{name: a, sha256: '{ZEROS}'}}", "2: an operator needs a role"),
    ("operators:\n- {name: a, role: act}", "2: an operator needs a sha256"),
    (
        "operators:\n- {name: a, role: act, sha256: hunter2}",
        "2: the SHA-256 of a token has 64 hexadecimal digits",
    ),
    (f"operators:\n- {{name: a, role: act, sha256: {'1' * 63}}}", "put it in quotes"),
    (f"operators:\n- {{name: a, role: admin, sha256: '{ZEROS}'}}", "2: a role is watch or act"),
    (f"operators:\n- {{name: 'a\\n', role: act, sha256: '{ZEROS}'}}", "2: a name has up to 64 letters"),
    (f'operators:\n- {{name: "a\\e[2J", role: act, sha256: "{ZEROS}"}}', "2: a name has up to 64 letters"),
    (f"operators:\n- {{name: {'a' * 65}, role: act, sha256: '{ZEROS}'}}", "2: a name has up to 64 letters"),
    (f"operators:\n- {{name: management, role: act, sha256: '{ZEROS}'}}", "that of MANAGEMENT_TOKEN"),
    (PEOPLE + entry("anna", "watch", "x"), "4: the name anna is there twice"),
    (PEOPLE + entry("carl", "watch", ANNA), "4: two operators have the same token"),
]


@pytest.mark.parametrize(("text", "words"), ERRORS, ids=[words for _, words in ERRORS])
def test_an_error_has_its_place_and_shows_no_value(text: str, words: str) -> None:
    with pytest.raises(OperatorsFileError) as wrong:
        parse_operators(text.encode(), "o.yaml")
    assert words in str(wrong.value)
    assert str(wrong.value).startswith("o.yaml:")
    assert "hunter2" not in str(wrong.value)
    assert ZEROS not in str(wrong.value)


def test_the_example_of_the_docs_is_sound() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text()
    example = page[page.index("operators:\n  - {") :].partition("```")[0]
    named = parse_operators(example.encode(), "api.md")
    assert [(each.name, each.role) for each in named] == [("anna", "act"), ("night-watch", "watch")]


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OperatorsFileError, match=r"can't be read: No such file"):
        read_operators(tmp_path / "operators.yaml")


async def test_a_change_takes_effect_and_a_broken_file_keeps_the_old_operators(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    operators = Operators(lambda: None)
    watched = OperatorsFile(file, operators, poll_seconds=0.01, settle_seconds=0.01)
    async with watched.running():
        assert [each.name for each in operators.named] == ["anna", "bob"]
        file.write_text("operators:\n" + entry("bob", "act", BOB))
        await eventually(lambda: [(each.name, each.role) for each in operators.named] == [("bob", "act")])
        file.write_text("operators: [hunter2]")
        await eventually(lambda: watched.issues)
        assert [each.name for each in operators.named] == ["bob"]
        file.unlink()
        await eventually(lambda: "can't be read" in "".join(watched.issues))
        assert [each.name for each in operators.named] == ["bob"]
        file.write_text(PEOPLE)
        await eventually(lambda: not watched.issues)
        assert [each.name for each in operators.named] == ["anna", "bob"]
    assert "2 operators from" in caplog.text
    assert "the operators stay as they were" in caplog.text
    assert "hunter2" not in caplog.text
    assert digest(ANNA) not in caplog.text


async def test_a_file_with_errors_stops_the_start(gateways: Gateways, file: Path) -> None:
    file.write_text("operators: 1")
    with pytest.raises(GatewayError, match="below 'operators'"):
        await gateways.start(operators_file=file)


async def test_named_operators_change_things_without_a_management_token(
    gateways: Gateways, file: Path
) -> None:
    gateway = await gateways.start(operators_file=file)
    change = {"capacity": 7}
    assert (await gateway.nobody("POST", "/actuator/rooms/default", json=change)).code == "TOKEN_REQUIRED"
    changed = await gateway.with_token(ANNA)("POST", "/actuator/rooms/default", json=change)
    assert (changed.status, changed.json["data"]["capacity"]) == (200, 7)
    assert "refresh" in (await gateway.nobody("GET", "/actuator")).json["_links"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/actuator/rooms/default", {"capacity": 7}),
        ("DELETE", "/actuator/rooms/default/users?id=u", None),
        ("POST", "/actuator/refresh", None),
        ("POST", "/actuator/gateway/refresh", None),
    ],
)
async def test_an_operator_who_watches_changes_nothing(
    gateways: Gateways, file: Path, method: str, path: str, body: dict[str, int] | None
) -> None:
    gateway = await gateways.start(operators_file=file, management_token=TOKEN, management_reads="token")
    answer = await gateway.with_token(BOB)(method, path, json=body)
    assert (answer.status, answer.code) == (403, "ROLE_NOT_ALLOWED")
    for token in (ANNA, BOB, TOKEN):
        shown = await gateway.with_token(token)("GET", "/actuator/rooms/default")
        assert (shown.status, shown.json["data"]["capacity"]) == (200, 1)
        assert (await gateway.with_token(token)("HEAD", "/actuator/rooms/default")).status == 200
        assert "components" in (await gateway.with_token(token)("GET", "/actuator/health")).json


async def test_an_operator_who_is_no_longer_named_is_refused_and_health_tells_of_a_broken_file(
    gateways: Gateways, file: Path
) -> None:
    gateway = await gateways.start(operators_file=file)
    file.write_text("operators:\n" + entry("bob", "act", BOB))
    gateway.app[OPERATORS_FILE].reload()
    await eventually(lambda: len(gateway.app[OPERATORS].named) == 1)
    answer = await gateway.with_token(ANNA)("POST", "/actuator/rooms/default", json={"capacity": 7})
    assert (answer.status, answer.code) == (401, "TOKEN_INVALID")
    up = (await gateway.nobody("GET", "/actuator/health/operators")).json
    assert up == {"status": "UP", "details": {"faults": []}}
    file.write_text("operators: [hunter2]")
    gateway.app[OPERATORS_FILE].reload()
    await eventually(lambda: gateway.app[OPERATORS_FILE].issues)
    health = (await gateway.nobody("GET", "/actuator/health")).json
    assert health["status"] == "UP"
    assert health["components"]["operators"]["status"] == "UNKNOWN"
    assert "hunter2" not in str(health)
    assert (
        await gateway.with_token(BOB)("POST", "/actuator/rooms/default", json={"capacity": 8})
    ).status == 200


async def test_wrong_tokens_are_counted_and_refused_for_a_while_but_never_a_right_one(
    gateways: Gateways, file: Path
) -> None:
    gateway = await gateways.start(operators_file=file, management_token=TOKEN)
    change = {"capacity": 7}
    wrong = gateway.with_token("wrong-token")
    codes = [(await wrong("POST", "/actuator/rooms/default", json=change)).code for _ in range(11)]
    assert codes == ["TOKEN_INVALID"] * 10 + ["TOO_MANY_WRONG_TOKENS"]
    refused = await wrong("POST", "/actuator/rooms/default", json=change)
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    for token in (ANNA, TOKEN):
        answer = await gateway.with_token(token)("POST", "/actuator/rooms/default", json=change)
        assert answer.status == 200
    assert (await gateway.nobody("POST", "/actuator/rooms/default", json=change)).code == "TOKEN_REQUIRED"
    counted = gateway.app[METRICS].registry.get_sample_value("gateway_operator_tokens_rejected_total")
    assert counted == 12


async def test_no_token_is_in_the_log_or_in_an_answer(
    gateways: Gateways, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = await gateways.start(operators_file=file)
    answers = [
        await gateway.with_token(token)("POST", path, json={"capacity": 1})
        for token in (ANNA, BOB, "hunter2-hunter2")
        for path in ("/actuator/rooms/default", "/actuator/rooms/none")
    ]
    answers.append(await gateway.nobody("GET", "/metrics"))
    text = caplog.text + "".join(answer.body.decode() for answer in answers)
    for token in (ANNA, BOB, "hunter2"):
        assert token not in text
        assert digest(token) not in text
