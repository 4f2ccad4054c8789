"""Forwards one request: connects, sends, and passes the answer on, streaming in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from time import perf_counter
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import RawResponseMessage

from gateway.errors import (
    BadRequest,
    CircuitOpen,
    NoInstance,
    ServiceFailed,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.proxy.body import RequestBody, body_of
from gateway.proxy.breakers import Breakers
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.headers import request_head
from gateway.proxy.load_balancer import Addressed, Instances
from gateway.proxy.plan import CallUnderWay, ForwardPlan
from gateway.proxy.pool import ConnectFailed, UpstreamPool
from gateway.proxy.queue_commands import queue_commands
from gateway.proxy.response import (
    BufferedResponse,
    ForwardedResponse,
    SendResponse,
    send_interim,
    send_response,
    wait_for_reader,
)
from gateway.proxy.slots import ServiceSlots, slots_of
from gateway.proxy.uploads import Uploads, sharer_of
from gateway.proxy.upstream import UpstreamBase
from gateway.proxy.websocket import TUNNEL_PLACE, UPGRADE, Tunnels
from gateway.resilience.breaker import BreakerPolicy, Result
from gateway.resilience.failures import Failure, failure_of
from gateway.resilience.retry import NO_RETRY_OBSERVER, Retries, RetryBudget, RetryObserver
from gateway.resilience.services import ServicePolicy

REPEATABLE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that are repeated by default when a reused connection has died: those that change nothing (RFC 9110,
9.2.1)."""

Answering = Coroutine[None, None, tuple[UpstreamConnection, RawResponseMessage]]
"""Gets the head of an answer, and the connection that it comes on."""

_MAX_INSTANCES = 3
# A service that sends more interim answers than this counts as sending no answer.
_MAX_INTERIM_HEADS = 16


class Forwarder:
    """Sends requests to services and their answers back.

    ``pool`` must be open while requests are forwarded. WebSockets go through ``tunnels``. ``on_head`` is called with
    the route's id and the seconds from the first byte sent to the head of the service's answer. ``uploads`` limits slow
    request bodies. ``repeatable``: methods that are sent once more, on a new connection, if a reused connection ends
    without a byte of an answer. ``retry_observer`` counts what the retry policies of routes do; ``breakers`` are
    their circuit breakers.
    """

    def __init__(
        self,
        pool: UpstreamPool,
        instances: Instances,
        tunnels: Tunnels,
        on_head: Callable[[str, float], None] = lambda route_id, seconds: None,
        uploads: Uploads | None = None,
        repeatable: Collection[str] = REPEATABLE_METHODS,
        retry_observer: RetryObserver = NO_RETRY_OBSERVER,
        breakers: Breakers | None = None,
    ) -> None:
        self._pool = pool
        self._instances = instances
        self._tunnels = tunnels
        self._on_head = on_head
        self._uploads = uploads or Uploads()
        self._repeatable = frozenset(repeatable)
        self._retry_observer = retry_observer
        self._breakers = breakers or Breakers()
        self._budgets: dict[str, RetryBudget] = {}
        self._slots: dict[str, ServiceSlots] = {}

    def limit_services(self, policies: Mapping[str, ServicePolicy]) -> None:
        """Limits how many requests services get at a time, from now on."""
        self._slots = slots_of(policies, self._slots)

    def keep_routes(self, route_ids: Collection[str], breakers: Collection[str]) -> None:
        """Forgets the state of all other routes and circuit breakers. Call it when the route table has changed."""
        self._breakers.keep(breakers)
        self._budgets = {each: budget for each, budget in self._budgets.items() if each in route_ids}

    def forward(
        self,
        request: web.BaseRequest,
        plan: ForwardPlan,
        send: SendResponse = send_response,
        body: RequestBody | None = None,
    ) -> Coroutine[None, None, ForwardedResponse | BufferedResponse]:
        """Forwards ``request``. Returns the answer already written to the client, or what ``send`` made of it.
        ``body``: what ``read_body`` returned, if it has been called.

        Raises UpstreamUnreachable, UpstreamTimeout, NoInstance, PayloadTooLarge, BadRequest, RequestTimeout,
        TooManySlowUploads, CircuitOpen, ServiceFailed or (for a WebSocket or a slow upload above the limit) Overloaded,
        and only while nothing of an answer has been written. Cancelling it ends the call to the upstream.
        """
        if plan.websocket is None:
            return self._forward(request, plan, send, body)
        return self._forward_websocket(request, plan, send, body)

    async def read_body(self, request: web.BaseRequest, plan: ForwardPlan) -> RequestBody:
        """The body of ``request``, of which the first part has arrived. Raises the errors of ``forward``."""
        if request.method == hdrs.METH_CONNECT:
            raise BadRequest("CONNECT is not for gateways")
        body = body_of(request, plan.body_limit)
        if body.streamed:
            await body.read_first_part(self._uploads, plan.client)
        return body

    async def _forward_websocket(
        self, request: web.BaseRequest, plan: ForwardPlan, send: SendResponse, body: RequestBody | None
    ) -> ForwardedResponse | BufferedResponse:
        async with self._tunnels.place(request, sharer_of(plan.client)):
            return await self._forward(request, plan, send, body)

    async def _forward(
        self, request: web.BaseRequest, plan: ForwardPlan, send: SendResponse, body: RequestBody | None
    ) -> ForwardedResponse | BufferedResponse:
        if body is None:
            body = await self.read_body(request, plan)
        if body.streamed:
            return await self._forward_upload(request, plan, send, body)
        return await self.exchange(request, plan, send, body, self.retries_for(request.method, plan, body))

    async def _forward_upload(
        self, request: web.BaseRequest, plan: ForwardPlan, send: SendResponse, body: RequestBody
    ) -> ForwardedResponse | BufferedResponse:
        """Forwards a request whose body has not arrived completely."""
        try:
            body.assign_service(plan.base)
            retries = self.retries_for(request.method, plan, body)
            return await self.exchange(request, plan, send, body, retries)
        finally:
            await body.stop()

    # -- the steps, for callers that take some of them without a task --------------------------------------

    def instance_for(self, plan: ForwardPlan, retries: Retries[UpstreamBase] | None) -> UpstreamBase | None:
        """The instance whose turn it is; None if ``exchange`` must choose it: because there is none and ``retries``
        decide about that, or because a circuit breaker or a limit of the service comes before. Raises NoInstance."""
        if plan.breaker is not None:
            return None
        if plan.base in self._slots:
            return None
        try:
            return self._instances.pick(plan.base, key=plan.key)
        except NoInstance:
            if retries is None:
                raise
            return None

    def idle_connection(self, plan: ForwardPlan, instance: UpstreamBase) -> UpstreamConnection | None:
        """An idle connection to ``instance``; None if ``exchange`` must connect. ``complete`` must follow, unless the
        caller itself releases or closes the connection."""
        connection = self._pool.idle(instance, plan.tls)
        if connection is not None:
            plan.calls.begin(instance)
            self._instances.connected(instance)
        return connection

    def retries_for(self, method: str, plan: ForwardPlan, body: RequestBody) -> Retries[UpstreamBase] | None:
        """The repetitions that the route's policy allows for a request; None if it is not to be repeated. Counts the
        request for the route's budget, so call it once."""
        policy = plan.retry
        if policy is None:
            return None
        budget = self._budgets.get(plan.route_id)
        if budget is None:
            budget = self._budgets[plan.route_id] = RetryBudget()
        budget.count_request()
        if method not in policy.methods or plan.websocket is not None or not body.repeatable:
            return None
        return Retries(policy, budget, plan.route_id, self._retry_observer)

    async def exchange(
        self,
        request: web.BaseRequest,
        plan: ForwardPlan,
        send: SendResponse,
        body: RequestBody,
        retries: Retries[UpstreamBase] | None = None,
        instance: UpstreamBase | None = None,
    ) -> ForwardedResponse | BufferedResponse:
        """Connects, sends the request and passes the answer on. ``retries``: the result of ``retries_for``.
        ``instance``: the result of ``instance_for``, if it has been called. Raises the errors of ``forward``."""
        return await self._attempt(request, plan, send, body, retries, first=instance)

    async def complete(
        self,
        request: web.BaseRequest,
        plan: ForwardPlan,
        send: SendResponse,
        body: RequestBody,
        connection: UpstreamConnection,
        retries: Retries[UpstreamBase] | None = None,
        *,
        began: float | None = None,
    ) -> ForwardedResponse | BufferedResponse:
        """Takes the steps that remain, and at the end releases or closes ``connection``. ``began``: the result of
        ``send_request``, if the request has been sent."""
        return await self._attempt(request, plan, send, body, retries, connection=connection, began=began)

    async def repeat(
        self,
        request: web.BaseRequest,
        plan: ForwardPlan,
        send: SendResponse,
        body: RequestBody,
        retries: Retries[UpstreamBase],
        pause: float,
    ) -> ForwardedResponse | BufferedResponse:
        """Sends the request once more, after ``pause`` seconds: the result of ``retries``."""
        await asyncio.sleep(pause)
        return await self._attempt(request, plan, send, body, retries)

    async def _attempt(
        self,
        request: web.BaseRequest,
        plan: ForwardPlan,
        send: SendResponse,
        body: RequestBody,
        retries: Retries[UpstreamBase] | None,
        *,
        first: UpstreamBase | None = None,
        connection: UpstreamConnection | None = None,
        began: float | None = None,
    ) -> ForwardedResponse | BufferedResponse:
        """Makes attempts until there is an answer for the client, and passes it on. ``first`` and ``connection`` are
        for the first attempt."""
        # A call that has its connection began before the service had a limit.
        limited = isinstance(plan.base, str) and connection is None
        slots = self._slots.get(str(plan.base)) if limited else None
        client, websocket = "", None
        if slots is not None:
            client = sharer_of(plan.client)
            websocket = request[TUNNEL_PLACE] if plan.websocket is not None else None
            await slots.acquire(plan.connect_timeout, client, websocket)
        try:
            if plan.breaker is not None:
                plan = plan._replace(calls=CallUnderWay(plan.calls))
            answer = self._answer(request, plan, body, retries, first, connection, began)
            if plan.breaker is not None and not plan.breaker.each_attempt:
                answer = self._guarded(plan, plan.breaker, body, answer)
            connection, message = await answer
            response = await self._pass_on(request, plan, send, body, connection, message)
        finally:
            if slots is not None:
                slots.release(client, websocket)
        # The service is free by now, however slowly the client reads.
        await wait_for_reader(request, response)
        return response

    async def _answer(
        self,
        request: web.BaseRequest,
        plan: ForwardPlan,
        body: RequestBody,
        retries: Retries[UpstreamBase] | None,
        first: UpstreamBase | None,
        connection: UpstreamConnection | None,
        began: float | None,
    ) -> tuple[UpstreamConnection, RawResponseMessage]:
        """The head of the answer for the client, and the connection that it came on, after as many attempts as it
        takes."""
        guard = plan.breaker if plan.breaker is not None and plan.breaker.each_attempt else None
        # The fallback of an attempt is its answer, so there is no reason for another attempt.
        falls_back = guard is not None and guard.has_fallback
        while True:
            attempt = self._final_head(request, plan, body, retries, first, connection, began)
            if guard is not None:
                attempt = self._guarded(plan, guard, body, attempt)
            try:
                answered, message = await attempt
            except UpstreamError as error:
                pause = None if retries is None or falls_back else retries.after_error(error)
                if pause is None:
                    raise
                plan.calls.failed(error.code)
            else:
                pause = None if retries is None else retries.after_status(message.code)
                if pause is None:
                    return answered, message
                plan.calls.dropped()
                _drop_answer(answered)
            connection = began = first = None
            await asyncio.sleep(pause)

    async def _guarded(
        self, plan: ForwardPlan, policy: BreakerPolicy, body: RequestBody, answer: Answering
    ) -> tuple[UpstreamConnection, RawResponseMessage]:
        """What ``answer`` returns, as a call through the route's circuit breaker. Raises CircuitOpen, or ServiceFailed
        if something else is to answer instead."""
        breaker = self._breakers.of(policy, plan.route_id)
        ticket = breaker.acquire(upload=body.streamed)
        if ticket is None:
            answer.close()
            raise CircuitOpen(breaker.name, breaker.seconds_left)
        # The time of a long body is its client's. A client that sends slowly must not open the breaker for all others.
        began = None if body.streamed else perf_counter()
        try:
            async with asyncio.timeout(None if body.streamed else policy.timeout):
                connection, message = await answer
        except TimeoutError:
            breaker.record(ticket, policy.config.result_of(Failure.TIMEOUT), _since(began))
            if isinstance(plan.calls, CallUnderWay) and plan.calls.instance is not None:
                self._instances.failed(plan.calls.instance)
            raise UpstreamTimeout("breaker") from None
        except UpstreamError as error:
            failure = failure_of(error)
            result = Result.IGNORED if _due_to_client(failure, body) else policy.config.result_of(failure)
            breaker.record(ticket, result, _since(began))
            raise
        except BaseException:
            breaker.release(ticket)
            raise
        failed = message.code in policy.statuses
        breaker.record(ticket, Result.FAILED if failed else Result.SUCCESSFUL, _since(began))
        if failed and policy.has_fallback and body.repeatable:
            _drop_answer(connection)
            raise ServiceFailed(message.code)
        return connection, message

    async def _final_head(
        self,
        request: web.BaseRequest,
        plan: ForwardPlan,
        body: RequestBody,
        retries: Retries[UpstreamBase] | None,
        first: UpstreamBase | None,
        connection: UpstreamConnection | None,
        began: float | None,
    ) -> tuple[UpstreamConnection, RawResponseMessage]:
        """One attempt: the head of the final answer and the connection that it came on. Closes the connection if it
        fails."""
        if connection is None:
            used = () if retries is None else retries.used
            connection = await self._connect(plan, fresh=False, first=first, used=used)
        try:
            if retries is not None:
                retries.used = (*retries.used, connection.base)
            try:
                if began is None:
                    began = self.send_request(request.method, plan, body, connection)
                return connection, await self._read_final_head(request, plan, connection, began, retries)
            except UpstreamUnreachable:
                # An idle connection may have been closed while the request was being sent on it.
                again = connection.reused and connection.lost_before_response and not body.streamed
                if not again or request.method not in self._repeatable:
                    raise
                connection.close()
                connection = await self._connect(plan, fresh=True)
                if retries is not None:
                    retries.used = (*retries.used, connection.base)
                began = self.send_request(request.method, plan, body, connection)
                return connection, await self._read_final_head(request, plan, connection, began, retries)
        except BaseException as error:
            if isinstance(error, UpstreamError) and not _due_to_client(failure_of(error), body):
                self._instances.failed(connection.base)
            await _stop(body, connection)
            raise

    async def _pass_on(
        self,
        request: web.BaseRequest,
        plan: ForwardPlan,
        send: SendResponse,
        body: RequestBody,
        connection: UpstreamConnection,
        message: RawResponseMessage,
    ) -> ForwardedResponse | BufferedResponse:
        """Carries out what the answer asks of the waiting room, passes the answer on, and releases or closes
        ``connection``."""
        try:
            commands = queue_commands(message.headers)
            if commands is not None and plan.on_commands is not None:
                await plan.on_commands(commands)
                plan = plan.after(commands)
            if message.code == 101:
                return await self._tunnels.relay(request, connection, message, plan)
            keep_alive = request.keep_alive
            if body.unfinished:
                keep_alive = False
            response = await send(request, connection, message, plan, keep_alive)
            if response.complete and not body.unfinished:
                connection.release()
            return response
        finally:
            await _stop(body, connection)

    async def _connect(
        self,
        plan: ForwardPlan,
        *,
        fresh: bool,
        first: UpstreamBase | None = None,
        used: tuple[UpstreamBase, ...] = (),
    ) -> UpstreamConnection:
        """Connects to the instance, or tries one instance or address after the other, ``first`` before the others.
        Nothing has been sent yet, so any method may retry. Instances that were ``used`` by earlier attempts come last.
        """
        service = plan.base
        tried: tuple[UpstreamBase, ...] = ()
        while True:
            base, first = first or self._pick(service, tried, used, plan.key), None
            plan.calls.begin(base)
            try:
                connection = await self._pool.connect(base, plan.connect_timeout, fresh=fresh, tls=plan.tls)
                self._instances.connected(base)
                return connection
            except ConnectFailed as exc:
                plan.calls.failed(exc.error.code)
                if exc.instance_failed:
                    self._instances.eject(base)
                    self._instances.failed(base)
                tried = (*tried, base)
                if len(tried) == _MAX_INSTANCES or not set(self._instances.known(service)) - set(tried):
                    raise exc.error from exc

    def _pick(
        self, service: Addressed, tried: tuple[UpstreamBase, ...], used: tuple[UpstreamBase, ...], key: str
    ) -> UpstreamBase:
        """The next instance that is not among ``tried``: one that is not ``used``, else not the last used, else any.
        Raises NoInstance."""
        for avoided in (used, used[-1:]) if used else ():
            try:
                return self._instances.pick(service, (*tried, *avoided), key)
            except NoInstance:
                continue
        return self._instances.pick(service, tried, key)

    def send_request(
        self, method: str, plan: ForwardPlan, body: RequestBody, connection: UpstreamConnection
    ) -> float:
        """Sends the request, and starts to send the rest of its body if that has not arrived. Returns
        the start time (``perf_counter``). Raises BadRequest, or UpstreamUnreachable if the connection is gone."""
        framing = body.framing if plan.websocket is None else UPGRADE
        head = request_head(method, plan.target, plan.headers, connection.authority, framing)
        began = perf_counter()
        connection.begin(head, body.data, body_follows=method != hdrs.METH_HEAD)
        if body.streamed:
            body.start(connection, plan.response_timeout)
        else:
            connection.start_deadline(plan.response_timeout)
        return began

    def record_head(
        self, plan: ForwardPlan, message: RawResponseMessage, began: float, instance: UpstreamBase
    ) -> None:
        """The head of the final answer has arrived."""
        self._instances.answered(instance, message.code)
        self._on_head(plan.route_id, perf_counter() - began)
        plan.calls.answered(message.code)

    async def _read_final_head(
        self,
        request: web.BaseRequest,
        plan: ForwardPlan,
        connection: UpstreamConnection,
        began: float,
        retries: Retries[UpstreamBase] | None,
    ) -> RawResponseMessage:
        """Returns the head of the final answer, or of a 101, requested or not."""
        for _ in range(_MAX_INTERIM_HEADS):
            message = await connection.read_head()
            if message.code >= 200 or message.code == 101:
                self.record_head(plan, message, began, connection.base)
                return message
            # A 100 is dropped: the gateway itself has already answered a client that expects one.
            if message.code > 101:
                if retries is not None:
                    retries.stop()
                send_interim(request, message, plan)
            elif message.code < 100:
                break
        raise UpstreamUnreachable("an answer that was not asked for")


def _since(began: float | None) -> float:
    """Seconds since then; 0 if that is not measured."""
    return 0.0 if began is None else perf_counter() - began


def _due_to_client(failure: Failure, body: RequestBody) -> bool:
    """Whether a failure may be that of a client that sends its body slowly: the service gave up waiting for it. Such a
    client must not make the service look broken to all others."""
    return failure in (Failure.LOST, Failure.TIMEOUT) and body.unfinished


def _drop_answer(connection: UpstreamConnection) -> None:
    """Keeps the connection if the whole answer has arrived; otherwise closes it."""
    try:
        with suppress(UpstreamUnreachable):
            if connection.read_arrived()[1]:
                connection.release()
    finally:
        connection.close()


async def _stop(body: RequestBody, connection: UpstreamConnection) -> None:
    """Ends the exchange on a connection that is not needed any more, or was released."""
    try:
        if body.streamed:
            await body.stop()
    finally:
        # The client may disconnect while the body is being stopped.
        connection.close()
