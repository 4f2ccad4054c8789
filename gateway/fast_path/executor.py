"""The second executor of the gateway's policy, beside the middlewares: see the package."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final, cast

from aiohttp import hdrs, web
from aiohttp.http import RawResponseMessage

from gateway.api.forwarding import plan_of, traced_calls
from gateway.api.queue import (
    LINEUP,
    StateCall,
    caller,
    check_prefetch,
    issue_pass,
    lineup_terms,
    room_name,
    room_runs_here,
    with_receipt,
)
from gateway.api.rate_limits import take_tokens
from gateway.api.refusals import refusal_response
from gateway.api.stream import StreamCall, hub_of, serve, stream, stream_response
from gateway.auth.access import MustWait
from gateway.context import RequestContext
from gateway.errors import GatewayError, UpstreamUnreachable
from gateway.fast_path.client_request import ClientSide
from gateway.fast_path.decisions import identify, is_plain, state_call_of
from gateway.fast_path.gate_check import GateCheck
from gateway.fast_path.resources import Resources, resources_of
from gateway.forward_auth import BY_PATH, AuthorizationCheck
from gateway.middleware.access_log import add_common_headers, begin, new_context
from gateway.middleware.cors import apply_cors
from gateway.middleware.gate import note_failure, passes_by_rule, skips_gate
from gateway.middleware.overload import check_overload
from gateway.observability.logging import ABORTED
from gateway.observability.spans import TracedCalls
from gateway.proxy.body import RequestBody, whole_body
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.plan import ForwardPlan
from gateway.proxy.queue_commands import queue_commands
from gateway.proxy.response import (
    BufferedResponse,
    ForwardedResponse,
    first_piece,
    head_for,
    send_response,
)
from gateway.proxy.upstream import UpstreamBase
from gateway.request_accounting import CLIENT_GONE, account
from gateway.resilience.retry import Retries
from gateway.routing.table import RouteMatch
from gateway.server.head import ParsedHead
from gateway.server.interfaces import FastConnection
from gateway.server.whole_response import SERVER_NAME, PlainAnswer, WholeResponse
from gateway.waiting_room.batch import Outcome
from gateway.waiting_room.state import State

log = logging.getLogger(__name__)

_PLAIN_REQUEST_LINE: Final = re.compile(
    rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE) "
    rb"(?!/actuator(?:[/?. ])|/api/v1/queue/(?!lineup[? ]|status[? ]|stream[? ]|authorize(?:[? ]|/ext/)))"
    rb"(?:(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*+)++/?+|/)"
    rb"(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*+)?+ HTTP/1\.1\r\n"
)
"""A request line of a plain request. Its path has only characters that no reader decodes or normalizes, so aiohttp's
router, the gateway's resolver and the service all see the same path. Paths that are never plain are excluded here,
which saves them the cost of an offer. Possessive, so that a long line takes linear time."""


RemainingSteps = Coroutine[None, None, ForwardedResponse | BufferedResponse]
"""The steps of the forwarder that remain."""


class FastPath:
    """Serves the plain requests of the application ``app``, whose resources must have started."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._resources: Resources | None = None

    def may_serve(self, data: bytes, max_line_bytes: int) -> bool:
        """Whether ``data`` begins with the request line of a request that may be plain, of at most ``max_line_bytes``
        without its line end."""
        return _PLAIN_REQUEST_LINE.match(data, 0, max_line_bytes + 2) is not None

    def serve(self, connection: FastConnection, head: ParsedHead, body: bytes) -> bool:
        """Serves a whole request if it is plain: returns whether it is, with the answer written or on its way."""
        headers = head.headers
        if hdrs.UPGRADE in headers or hdrs.EXPECT in headers:
            return False
        resources = self._resources
        if resources is None:
            resources = self._resources = resources_of(self._app)
        return PlainCall(resources, connection, head, body).start()


class PlainCall:
    """One plain request, from its resolution to its line in the log.

    A step calls the next step, registers a callback, or answers. ``_continue_in_task`` leaves the remaining steps to a
    task.
    """

    __slots__ = (
        "_accounted",
        "_authorization_check",
        "_began",
        "_body",
        "_client",
        "_connection",
        "_context",
        "_data",
        "_head",
        "_keep_alive",
        "_outcome",
        "_plan",
        "_resources",
        "_retries",
        "_spans",
        "_state_call",
        "_task",
        "_upstream",
        "_written",
    )

    _plan: ForwardPlan
    _body: RequestBody
    _retries: Retries[UpstreamBase] | None
    """The repetitions that the route allows."""
    _began: float
    """When the request to the service was sent (``perf_counter``)."""

    def __init__(
        self, resources: Resources, connection: FastConnection, head: ParsedHead, data: bytes
    ) -> None:
        self._resources = resources
        self._connection = connection
        self._head = head
        self._data = data
        self._context: RequestContext = new_context(head, resources.configuration, resources.observers)
        self._client: ClientSide | None = None
        """The client's side, once a task needs it."""
        self._state_call: StateCall | None = None
        self._authorization_check: AuthorizationCheck | None = None
        """What another proxy asks, if the request describes its call."""
        self._spans: TracedCalls | None = None
        self._upstream: UpstreamConnection | None = None
        """The connection on which an answer is awaited."""
        self._outcome: Outcome[State] | None = None
        """The room's answer that is awaited."""
        self._task: asyncio.Task[None] | None = None
        self._accounted = False
        """Whether the answer has been accounted for."""
        self._keep_alive = False
        self._written = False
        """Whether an answer has been written, or its beginning."""

    def start(self) -> bool:
        """Decides what comes before the gate. Returns False, with nothing changed, if the request is not plain."""
        try:
            if not self._decide():
                return False
        except GatewayError as error:
            self._begin(partial(self._refuse, error))
        except MustWait:
            return False
        except Exception:
            # The middlewares will raise the same error, and answer, count and log it.
            return False
        else:
            self._begin(self._ask_room)
        return True

    def _decide(self) -> bool:
        """Whether the request is plain; then it may also go on to the gate. Raises the errors of the middlewares, and
        MustWait."""
        resources, head, context = self._resources, self._head, self._context
        resources.resolver.resolve(resources.configuration, head, context)
        if (by_path := BY_PATH.get(context.handler)) is not None:
            return self._decide_described(by_path=by_path)
        if not is_plain(resources, head, context):
            return False
        apply_cors(head, context)
        if context.sheddable:
            limit = resources.configuration.settings.overload_lag_ms
            check_overload(context, head.method, limit, resources.loop_lag, resources.rooms)
        identify(resources, head, context)
        self._state_call = state_call_of(context)
        return True

    def _decide_described(self, *, by_path: bool) -> bool:
        """``_decide`` for a call that another proxy describes. It has no body: the proxy keeps it."""
        resources, head, context = self._resources, self._head, self._context
        if self._data or context.refusal is not None or not (by_path or head.method == hdrs.METH_GET):
            return False
        check = self._authorization_check = AuthorizationCheck(head, context, by_path=by_path)
        check.describe(resources.configuration, resources.resolver)
        if not room_runs_here(context, resources.rooms):
            return False
        identify(resources, check.call, context)
        return True

    def _begin(self, step: Callable[[], None]) -> None:
        """From here on, the fast path answers. ``step``: the first one."""
        resources, context = self._resources, self._context
        observers = resources.observers
        self._connection.fast_call = self
        try:
            begin(self._head, context, resources.configuration, observers, resources.untrusted)
            observers.metrics.fast_path_request(context.label)
            try:
                step()
            except GatewayError as error:
                self._refuse(error)
        except Exception as error:
            self._failed(error)
        if context.recorded:
            observers.tracer.clear_current()

    def _ask_room(self) -> None:
        """The gate, or the question of a state call."""
        resources, context = self._resources, self._context
        if self._state_call is not None:
            if self._state_call is LINEUP:
                check_prefetch(self._head.headers)
            outcome = self._outcome = Outcome(partial(self._step, self._on_state))
            room, question = resources.rooms[room_name(context)], self._state_call.question
            table = resources.configuration.tables.current.table
            invitation, lane = lineup_terms(question, context, room.name, table, resources.invitations)
            room.ask_for(outcome, question, caller(context), invitation, lane=lane)
        elif (
            context.room is not None
            and not passes_by_rule(context, resources.observers.metrics)
            and (member := context.member) is not None
        ):
            self._ask_at_gate(context.room, member)
        elif context.handler is stream:
            self._open_stream()
        else:
            self._forward()

    def _ask_at_gate(self, name: str, member: str) -> None:
        room = self._resources.rooms[name]
        if skips_gate(room, self._context, self._head.headers):
            self._forward()
            return
        calls = self._step, self._run_in_task, self._forward
        check = GateCheck(self._resources, self._context, room, member, *calls)
        self._outcome = check.outcome
        check.ask()

    def _open_stream(self) -> None:
        """Opens a stream, which leaves the connection's guard: it is accounted for when it ends."""
        resources, context, connection = self._resources, self._context, self._connection
        hub = hub_of(context, resources.hubs)
        response = stream_response(context)
        transport = connection.transport
        if transport is None or transport.is_closing():
            self._finish(CLIENT_GONE, 0, ABORTED, keep_alive=False)
            return
        opened = response.start_without_request(
            transport,
            user=caller(context),
            locale=context.locale,
            languages=context.languages,
            max_buffer=resources.configuration.settings.sse_max_buffer_bytes,
            connections=resources.detached,
            on_end=StreamCall(context, resources.observers, self._head.method),
        )
        # From here on the stream owns the connection.
        self._accounted = self._written = True
        connection.leave()
        serve(hub, opened)

    def _on_state(self) -> None:
        assert self._state_call is not None and self._outcome is not None  # noqa: S101, PT018 - set by ``_ask_room``
        state, passes = self._outcome.result(), self._resources.passes
        if passes is not None:
            issue_pass(passes, self._context, state)
        state = with_receipt(self._resources.signing_keys, state, caller(self._context))
        self._write(self._state_call.answer(self._context, self._resources.admissions, state))

    def _forward(self) -> None:
        """Forwards the request, within the limits of its route. A call that is only described goes on elsewhere."""
        check = self._authorization_check
        if check is not None:
            settings = self._resources.configuration.settings
            self._write(check.plain_admission(settings) or check.admission(settings))
            return
        match = self._context.match
        assert match is not None  # noqa: S101 - see ``_is_plain``
        if not match.changes.rate_limits:
            self._send(match)
            return
        resources, send = self._resources, partial(self._send, match)
        metrics = resources.observers.metrics
        limiter, visitors = resources.limiter, resources.visitors
        take_tokens(self._head, self._context, visitors, limiter, metrics, self._step, send)

    def _send(self, match: RouteMatch) -> None:
        """Sends the request to the service, on an idle connection if there is one."""
        resources, context, head = self._resources, self._context, self._head
        commands = resources.service_commands
        plan = plan_of(head, context, match, resources.configuration, resources.downloads, commands)
        if context.trace.sampled and resources.observers.tracer.records(context.trace):
            self._spans = traced_calls(resources.observers.tracer, context.trace, head.method, plan)
            plan = plan._replace(calls=self._spans)
        length = head.headers.get(hdrs.CONTENT_LENGTH)
        body = whole_body(head.method, length, self._data, plan.body_limit)
        forwarder = resources.forwarder
        retries = self._retries = forwarder.retries_for(head.method, plan, body)
        instance = forwarder.instance_for(plan, retries)
        upstream = None if instance is None else forwarder.idle_connection(plan, instance)
        if upstream is None:
            rest = forwarder.exchange(self._request, plan, send_response, body, retries, instance)
            self._continue_in_task(rest)
            return
        self._plan, self._body = plan, body
        try:
            self._began = forwarder.send_request(head.method, plan, body, upstream)
        except UpstreamUnreachable:
            self._complete_in_task(upstream)
        except BaseException:
            upstream.close()
            raise
        else:
            self._upstream = upstream
            upstream.on_answer(self._on_answer, self._on_head)

    def _on_answer(self, message: RawResponseMessage, body: bytes) -> None:
        """The whole answer has arrived. As in ``_step``, errors become answers."""
        if self._accounted:
            return
        try:
            try:
                self._pass_on(message, body)
            except GatewayError as error:
                self._refuse(error)
        except Exception as error:
            self._failed(error)

    def _on_head(self) -> None:
        """The head of the answer has arrived, and not all of it; or the connection has failed."""
        self._step(self._pass_on_in_task)

    def _pass_on(self, message: RawResponseMessage, data: bytes) -> None:
        """Passes on an answer that is complete, after what it asks of the waiting room has been done."""
        upstream, plan = self._upstream, self._plan
        assert upstream is not None  # noqa: S101 - set by ``_forward``
        try:
            self._resources.forwarder.record_head(plan, message, self._began, upstream.base)
            if self._retries is not None and self._repeat(self._retries, upstream, message.code):
                return
            commands = queue_commands(message.headers)
            if commands is None:
                self._deliver(upstream, message, data)
                return
            self._plan = plan.after(commands)
            then = partial(self._step, partial(self._deliver, upstream, message, data))
            self._resources.service_commands.carry_out(self._context, commands, then)
        except BaseException:
            upstream.close()
            raise

    def _deliver(self, upstream: UpstreamConnection, message: RawResponseMessage, data: bytes) -> None:
        """Writes an answer that is complete, and releases the service's connection."""
        self._upstream = None
        transport, stays_open = self._connection.transport, self._may_stay_open()
        try:
            answer = head_for(
                message, self._plan, method=self._head.method, http11=True, keep_alive=stays_open
            )
            if answer.bodiless:
                data = b""
            open_ = transport is not None and not transport.is_closing()
            if transport is not None and open_:
                self._written = True
                transport.write(first_piece(answer, data, ended=True))
        except BaseException:
            upstream.close()
            raise
        upstream.release_whole()
        if self._spans is not None:
            self._spans.done(True)
        self._finish(answer.status, len(data), "", keep_alive=answer.keep_alive and open_)

    def _repeat(self, retries: Retries[UpstreamBase], upstream: UpstreamConnection, status: int) -> bool:
        """Sends the request once more, if the route's policy repeats it after an answer with this status."""
        pause = retries.after_status(status)
        if pause is None:
            return False
        retries.used = (upstream.base,)
        self._upstream = None
        upstream.release_whole()
        forwarder, plan, body = self._resources.forwarder, self._plan, self._body
        plan.calls.dropped()
        self._continue_in_task(forwarder.repeat(self._request, plan, send_response, body, retries, pause))
        return True

    def _may_stay_open(self) -> bool:
        """Whether another request will be read after this one, as far as is known now."""
        return self._head.keep_alive and self._connection.may_stay_open()

    # -- in a task -----------------------------------------------------------------------------------------

    @property
    def _request(self) -> web.BaseRequest:
        """The client's side, in the type that the forwarder asks for. It reads no more of it than ``ClientSide`` has,
        because the body has arrived."""
        if self._client is None:
            self._client = ClientSide(self._connection, self._head)
        return cast(web.BaseRequest, self._client)

    def _pass_on_in_task(self) -> None:
        upstream, self._upstream = self._upstream, None
        assert upstream is not None  # noqa: S101 - set by ``_forward``
        self._complete_in_task(upstream, began=self._began)

    def _complete_in_task(self, upstream: UpstreamConnection, began: float | None = None) -> None:
        rest = self._resources.forwarder.complete(
            self._request, self._plan, send_response, self._body, upstream, self._retries, began=began
        )
        self._continue_in_task(rest)

    def _continue_in_task(self, rest: RemainingSteps) -> None:
        """Continues in a task."""
        self._task = asyncio.get_running_loop().create_task(self._serve(rest))

    def _run_in_task(self, steps: Coroutine[None, None, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._take(steps))

    async def _take(self, steps: Coroutine[None, None, None]) -> None:
        """Takes steps before the forwarder's."""
        try:
            await steps
        except asyncio.CancelledError:
            self._finish(CLIENT_GONE, 0, ABORTED, keep_alive=False)
            raise
        except Exception as error:
            self._failed(error)

    async def _serve(self, rest: RemainingSteps) -> None:
        try:
            response = await rest
        except GatewayError as error:
            self._step(partial(self._refuse, error))
        except asyncio.CancelledError:
            # The client has gone.
            started = self._started_response
            if self._spans is not None:
                self._spans.done(False)
            if started is None:
                self._finish(CLIENT_GONE, 0, ABORTED, keep_alive=False)
            else:
                self._finish(
                    started.status, started.body_length, getattr(started, "end", ""), keep_alive=False
                )
            raise
        except Exception as error:
            self._failed(error)
        else:
            if self._spans is not None:
                self._spans.done(response.complete)
            end = getattr(response, "end", "")
            self._finish(response.status, response.body_length, end, keep_alive=bool(response.keep_alive))

    @property
    def _started_response(self) -> web.StreamResponse | None:
        """The answer of a service that is being written, if any."""
        return None if self._client is None else self._client.started_response

    # -- answers -------------------------------------------------------------------------------------------

    def _step(self, step: Callable[[], None]) -> None:
        """Takes a step, unless the client has gone, and turns its errors into answers."""
        if self._accounted:
            return
        try:
            try:
                step()
            except GatewayError as error:
                self._refuse(error)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Answers with 500 after an error of the gateway's own; if that fails too, or an answer has begun, ends the
        connection: the client must not wait for ever."""
        context = self._context
        log.error(
            "%s %s failed, trace %s", self._head.method, context.label, context.trace_id, exc_info=error
        )
        if self._spans is not None:
            self._spans.done(False)
        if not (self._written or self._started_response is not None):
            # The middlewares give this answer to every request, also to one for a decision about a call.
            self._authorization_check = None
            try:
                self._refuse(GatewayError())
            except Exception:
                log.exception("the answer to that failed as well")
            else:
                return
        if not self._accounted:
            self._accounted = True
            self._resources.observers.metrics.in_progress -= 1
        if self._connection.transport is not None:
            self._connection.transport.abort()

    def _refuse(self, error: GatewayError) -> None:
        if self._spans is not None:
            self._spans.failed(error.code)
        if self._authorization_check is not None:
            self._write(self._authorization_check.refusal(error))
            return
        note_failure(self._resources.rooms, self._context, error)
        self._write(refusal_response(self._head, self._context, error))

    def _write(self, answer: WholeResponse | PlainAnswer) -> None:
        """Writes one of the gateway's own answers."""
        transport, method = self._connection.transport, self._head.method
        if isinstance(answer, WholeResponse):
            add_common_headers(answer, self._context)
            answer.headers.setdefault("Server", SERVER_NAME)
        if transport is None or transport.is_closing():
            self._finish(CLIENT_GONE, 0, ABORTED, keep_alive=False)
            return
        keep_alive = answer.keep_alive is None and self._may_stay_open()
        bodiless = method == hdrs.METH_HEAD
        data = answer.serialized(keep_alive=keep_alive, bodiless=bodiless)
        self._written = True
        transport.write(data)
        size = 0 if bodiless else len(answer.whole_body)
        self._finish(answer.status, size, "", keep_alive=keep_alive)

    def _finish(self, status: int, size: int, end: str, *, keep_alive: bool) -> None:
        """Accounts for the answer. The connection serves the next request once the client has taken this one."""
        if self._accounted:
            return
        self._accounted = True
        # The question's outcome refers to this call.
        self._outcome = None
        observers = self._resources.observers
        observers.metrics.in_progress -= 1
        account(observers, self._head.method, self._context, status, size, end)
        self._keep_alive = keep_alive
        if not self._connection.writing_paused:
            self._end_call()

    def _end_call(self) -> None:
        if self._connection.transport is not None:
            self._connection.end_fast(self._keep_alive, not self._head.keep_alive)

    # -- the connection ------------------------------------------------------------------------------------

    def resume_writing(self) -> None:
        """The client has taken most of what waited for it."""
        if self._accounted:
            self._end_call()
        elif self._client is not None:
            self._client.resume()

    def client_gone(self) -> None:
        """The connection has ended: cancels the request in progress."""
        if self._accounted:
            return
        if self._task is not None and not self._task.done():
            # A coroutine that is cancelled before its first step never runs, so nothing would be closed or counted. The
            # first step is already scheduled and runs before this callback.
            asyncio.get_running_loop().call_soon(self._task.cancel)
            return
        if self._upstream is not None:
            self._upstream.close()
        if self._spans is not None:
            self._spans.done(False)
        if self._outcome is not None:
            self._outcome.cancel()
        self._finish(CLIENT_GONE, 0, ABORTED, keep_alive=False)
