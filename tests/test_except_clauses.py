"""Errors of programming stay what they are: which ``except`` may catch one, and why.

A ``TypeError`` because a library changed is no wrong setting, no bad request and no service that is away. So whatever
could catch one is listed here with its reason, and so is a ``ValueError`` caught from more than one statement.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from gateway.errors import BadRequest
from gateway.observability.zipkin import Poster
from tests.proxy.rig import gateway_to
from tests.support.raw_http import OK, answering, raw_upstream

ROOT = Path(__file__).parent.parent

BROAD = frozenset(
    {"BaseException", "Exception", "ArithmeticError", "AssertionError", "AttributeError", "ImportError"}
    | {"IndexError", "KeyError", "LookupError", "NameError", "RuntimeError", "SystemError", "TypeError"}
)
"""What errors of programming are; handlers that end in a bare ``raise`` may catch them."""

LOGGED = "logged with its traceback as what it is; "

ALLOWED = {
    "composition/operators.py OperatorsFile._take_over Exception": LOGGED + "the operators stay as they were",
    "composition/route_sources.py RouteSources._work Exception": LOGGED
    + "the routes in force stay, and the next ones are taken",
    "composition/signing_keys.py SigningKeys._look Exception": LOGGED + "the keys at hand stay good",
    "composition/visitor_secrets.py VisitorSecrets._keep Exception": LOGGED + "the secrets at hand stay good",
    "sse/hub.py Hub._reconcile_when_missed Exception": LOGGED + "the streams are compared after the next gap",
    "waiting_room/presence.py Presence._keep Exception": LOGGED + "presence is told anew",
    "api/desk_stream.py RoomFeed._read Exception": LOGGED
    + "the viewers are told, and the room is read again",
    "api/room_acts.py _moment ValueError": "datetime refuses texts so",
    "auth/discovery.py _address ValueError": "urllib checks the port only when it is asked for",
    "auth/jwks.py Jwks._refresh Exception": LOGGED + "the keys at hand stay good",
    "cli/client.py within.run BaseException": "raised again in the thread that waits",
    "cli/main.py _loop_factory ImportError": "uvloop may be missing, and asyncio's own loop does the same",
    "observability/export.py tracing ImportError": "logged with its text; without traces everything goes on",
    "observability/logging.py _WriterHandler.emit Exception": "as in every handler of logging, which says so on stderr",
    "observability/span_queue.py SpanQueue.close.stop RuntimeError": "the loop ended first, and nobody waits any more",
    "observability/zipkin.py Poster.post ValueError": "only if the connection was closed from another thread",
    "observability/logging.py LineWriter._run Exception": "counted, and told once a line can be written",
    "proxy/connection.py UpstreamConnection.read RuntimeError": "as for uploads",
    "proxy/whole_answers.py WholeAnswerParser.read Exception": "the usual way meets it again, and tells",
    "fast_path/executor.py PlainCall.start Exception": "the middlewares meet it again, and log it",
    "fast_path/executor.py PlainCall._begin Exception": "_failed logs it with its traceback, and answers with 500",
    "fast_path/executor.py PlainCall._step Exception": "_failed logs it with its traceback, and answers with 500",
    "fast_path/executor.py PlainCall._on_answer Exception": "_failed logs it with its traceback, and answers with 500",
    "fast_path/executor.py PlainCall._serve Exception": "_failed logs it with its traceback, and answers with 500",
    "fast_path/executor.py PlainCall._take Exception": "_failed logs it with its traceback, and answers with 500",
    "fast_path/executor.py PlainCall._failed Exception": LOGGED + "the connection is ended",
    "server/head.py HeadParser.parse IndexError": "yarl refuses some hosts so",
    "server/deadlines.py Deadlines._tell Exception": LOGGED + "the other deadlines must be told",
    "discovery/eureka/registry.py Fetcher._for_ever Exception": LOGGED + "the registry at hand stays",
    "discovery/eureka/lease.py Lease._for_ever Exception": LOGGED + "the lease is renewed at the next turn",
    "proxy/health_checks.py HealthChecks._watch Exception": LOGGED + "the instance is checked on",
    "name_threads.py addresses_of.ask RuntimeError": "the loop has ended, so that no task waits",
    "proxy/uploads.py Upload.piece RuntimeError": "aiohttp's word for a lost connection, else raised again",
    "discovery/config_server/client.py ConfigServer._poll Exception": LOGGED
    + "told as a fault of the gateway itself",
    "routing/spec/document.py plain ValueError": "two numbers, one of them at a time",
    "routing/java_regex.py _Translation._by_name KeyError": "one look-up of a character's name",
    "routing/route.py _address ValueError": "urllib checks the port only when it is asked for",
    "routing/watch.py RouteWatcher._notify Exception": LOGGED + "the file is watched on",
    "routing/watch.py _load_or_issues Exception": LOGGED + "told as a fault of the gateway itself",
    "settings/types.py _parse_switch KeyError": "one look-up of a word",
    "settings/types.py one_of.parse KeyError": "one look-up of a word",
    "settings/redis.py _checked ValueError": "its own, or that of the address's parser",
    "settings/profile.py _uses_shipped_routes ValueError": "a path with a NUL; whoever reads the routes tells",
    "settings/spring/values.py _level KeyError": "one look-up of a word",
    "sse/pacing.py every Exception": LOGGED + "streams must be told on",
    "sse/state_reader.py StateReader.read_each Exception": LOGGED + "streams must be told on",
    "waiting_room/redis/availability.py Probe._keep Exception": LOGGED + "Redis is asked again",
    "waiting_room/batch.py Outcome._end Exception": LOGGED + "the others of the batch must be told",
    "waiting_room/batch.py Batcher._send_next Exception": LOGGED + "callers must not wait for ever",
    "waiting_room/redis/embedded.py _ServerProcess.keep Exception": LOGGED
    + "it is started again at the next attempt",
    "waiting_room/events.py Subscription._keep Exception": LOGGED + "the subscription is made anew",
    "waiting_room/events.py Subscription._receive Exception": LOGGED + "the other events must be told",
    "waiting_room/opening.py Opener.keep Exception": LOGGED + "the next sweep tries again",
    "waiting_room/named_rooms.py NamedRooms._configured KeyError": "no entry of the configuration has the name",
    "waiting_room/named_rooms.py NamedRooms._keep Exception": LOGGED + "the rooms are looked at again",
    "waiting_room/sessions.py SessionWatch._keep Exception": LOGGED + "sessions are watched on",
    "pages/waiting_page/template.py render AttributeError, KeyError, LookupError, TypeError": "an operator's template "
    "may do anything with its variables; told as its fault",
    "waiting_room/redis/wire.py check_address ValueError": "Python's ssl refuses values so",
    "server/connection.py Guard._feed Exception": LOGGED
    + "unless it is a ValueError; the connection must end",
    "server/connection.py Guard.end RuntimeError": "the transport is closing, which is what is wanted",
    "middleware/overload.py refuse_arrival.refuse Exception": "the middlewares meet it again, and log it",
    "middleware/errors.py errors Exception": LOGGED + "answered with 500",
}


def caught(node: ast.expr | None, constants: dict[str, ast.expr]) -> list[str]:
    """The names of the classes that an ``except`` or ``suppress`` names, tuples of the module resolved."""
    match node:
        case None:
            return ["BaseException"]
        case ast.Tuple(elts=parts):
            return [name for part in parts for name in caught(part, constants)]
        case ast.Starred(value=value):
            return caught(value, constants)
        case ast.BinOp(left=left, right=right):
            return caught(left, constants) + caught(right, constants)
        case ast.Name(id=name):
            return caught(constants[name], {}) if name in constants else [name]
        case ast.Attribute(attr=name):
            return [name]
    return ["BaseException"]  # something computed may be anything


def ends_in_raise(handler: ast.ExceptHandler) -> bool:
    """Whether nothing is kept from going on as it was."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def broad(module: Path, package: Path) -> Iterator[str]:
    """Where the module catches errors of programming: file, function, classes."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    constants: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Tuple):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name):
                constants[target.id] = node.value

    def visit(node: ast.AST, where: tuple[str, ...]) -> Iterator[str]:
        place = f"{module.relative_to(package)} {'.'.join(where)}"
        for child in ast.iter_child_nodes(node):
            inner = where
            match child:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    inner = (*where, name)
                case ast.Try(body=body, handlers=handlers) | ast.TryStar(body=body, handlers=handlers):
                    for handler in handlers:
                        names = set(caught(handler.type, constants))
                        if names & BROAD and not ends_in_raise(handler):
                            yield f"{place} {', '.join(sorted(names & BROAD))}"
                        if "ValueError" in names and len(body) > 1:
                            yield f"{place} ValueError"
                case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=args):
                    if names := {name for one in args for name in caught(one, constants)} & BROAD:
                        yield f"{place} {', '.join(sorted(names))}"
            yield from visit(child, inner)

    yield from visit(tree, ())


def all_broad(package: Path) -> list[str]:
    return sorted(found for module in sorted(package.rglob("*.py")) for found in broad(module, package))


def test_whatever_could_hide_an_error_of_programming_is_listed_with_its_reason() -> None:
    assert all_broad(ROOT / "gateway") == sorted(ALLOWED)


def test_what_is_said_to_be_logged_is() -> None:
    for place, reason in ALLOWED.items():
        if reason.startswith(LOGGED):
            file, function, _ = place.split(" ", 2)
            source = (ROOT / "gateway" / file).read_text(encoding="utf-8")
            name = function.rpartition(".")[2]
            texts = [
                ast.unparse(node)
                for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
            ]
            assert any("log.exception(" in text for text in texts), place


@pytest.mark.parametrize(
    ("handler", "found"),
    [
        ("except Exception:\n        pass", "Exception"),
        ("except:\n        pass", "BaseException"),
        ("except (OSError, TypeError) as error:\n        raise ValueError from error", "TypeError"),
        ("except _SEVERAL:\n        pass", "AttributeError, KeyError"),
        ("except (*_SEVERAL, OSError):\n        pass", "AttributeError, KeyError"),
        ("except builtins.TypeError:\n        pass", "TypeError"),
        ("except classes():\n        pass", "BaseException"),
        ("except ValueError:\n        pass", "ValueError"),
    ],
)
def test_an_except_that_could_hide_one_is_found(tmp_path: Path, handler: str, found: str) -> None:
    text = f"_SEVERAL = (KeyError, AttributeError)\ndef f():\n    try:\n        a()\n        b()\n    {handler}\n"
    (tmp_path / "x.py").write_text(text)
    assert all_broad(tmp_path) == [f"x.py f {found}"]


@pytest.mark.parametrize("call", ["suppress", "contextlib.suppress"])
def test_a_suppress_that_could_hide_one_is_found(tmp_path: Path, call: str) -> None:
    (tmp_path / "x.py").write_text(
        f"class A:\n  def f(self):\n    with {call}(OSError, TypeError):\n      a()\n"
    )
    assert all_broad(tmp_path) == ["x.py A.f TypeError"]


@pytest.mark.parametrize(
    "handler",
    [
        "except BaseException:\n    close()\n    raise",
        "except OSError:\n    pass",
        "except ValueError:\n    pass",
    ],
)
def test_what_hides_none_is_not(tmp_path: Path, handler: str) -> None:
    (tmp_path / "x.py").write_text(f"try:\n    a()\n{handler}\n")
    assert all_broad(tmp_path) == []


async def test_a_read_that_goes_wrong_is_no_fault_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: StreamReader) -> bytes:
        raise RuntimeError("readany() called while another coroutine is already waiting for incoming data")

    async with raw_upstream(answering(OK)) as upstream, gateway_to(upstream.base) as gateway:
        async with gateway.client() as client:
            monkeypatch.setattr(StreamReader, "readany", broken)
            client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nab")
            outcome = await gateway.outcome()
        monkeypatch.undo()
    assert isinstance(outcome, RuntimeError)


async def test_a_body_that_its_client_breaks_off_is_a_fault_of_the_client() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nab")
        await client.writer.drain()
        client.writer.write_eof()
        outcome = await gateway.outcome()
    assert isinstance(outcome, BadRequest | asyncio.CancelledError)


async def test_a_parser_that_goes_wrong_is_logged_as_such(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: RequestHandler[object], data: bytes) -> None:
        raise TypeError("a library changed")

    async with raw_upstream(answering(OK)) as upstream, gateway_to(upstream.base) as gateway:
        async with gateway.client() as client:
            monkeypatch.setattr(RequestHandler, "data_received", broken)
            client.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            async with asyncio.timeout(10):
                while not any(record.exc_info for record in caplog.records):
                    await asyncio.sleep(0.01)
        monkeypatch.undo()
    assert any(record.exc_info and isinstance(record.exc_info[1], TypeError) for record in caplog.records)


def test_a_post_that_goes_wrong_in_itself_is_not_the_collectors_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("of our own")

    monkeypatch.setattr("http.client.HTTPConnection.request", broken)
    with pytest.raises(ValueError, match="of our own"):
        Poster("http://127.0.0.1:1/api/v2/spans").post(b"[]")
