"""The gate of a plain call: what ``middleware.gate`` decides, by callbacks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial

from gateway.api.queue import issue_pass, lineup_terms, with_receipt
from gateway.context import RequestContext
from gateway.errors import GatewayError, QueueUnavailable
from gateway.fast_path.resources import Resources
from gateway.middleware.gate import (
    check_failed,
    check_place,
    first_question,
    line_up_at_gate,
    lines_up_at_gate,
    note_lineup,
)
from gateway.waiting_room.batch import Outcome
from gateway.waiting_room.room import Question, Room
from gateway.waiting_room.state import State, StateKind

Step = Callable[[Callable[[], None]], None]
RunInTask = Callable[[Coroutine[None, None, None]], None]


class GateCheck:
    """Asks a room whether a call may pass its gate.

    ``step`` calls what it gets, unless the client has gone, and answers the errors that this raises. ``run_in_task``
    runs a coroutine: only a caller without a place who has to be checked before a lineup needs one. ``pass_on`` goes on
    with a call that passes.
    """

    __slots__ = (
        "_context",
        "_member",
        "_pass_on",
        "_question",
        "_resources",
        "_room",
        "_run_in_task",
        "_step",
        "outcome",
    )

    _question: Question

    def __init__(
        self,
        resources: Resources,
        context: RequestContext,
        room: Room,
        member: str,
        step: Step,
        run_in_task: RunInTask,
        pass_on: Callable[[], None],
    ) -> None:
        self._resources = resources
        self._context = context
        self._room = room
        self._member = member
        self._step = step
        self._run_in_task = run_in_task
        self._pass_on = pass_on
        self.outcome: Outcome[State] = Outcome(partial(step, self._on_answer))
        """The room's answer that is awaited."""

    def ask(self) -> None:
        """Asks the room, or passes the call on at once if the room can't be asked and need not be."""
        resources, context = self._resources, self._context
        table = resources.configuration.tables.current.table
        question = self._question = first_question(context, resources.rooms, table)
        invitation, lane = lineup_terms(question, context, self._room.name, table, resources.invitations)
        ask = self._room.ask_for
        try:
            ask(self.outcome, question, self._member, invitation, lane=lane, lines_up=context.lines_up)
        except QueueUnavailable as error:
            self._failed(error)

    def _on_answer(self) -> None:
        try:
            state = self.outcome.result()
        except GatewayError as error:
            self._failed(error)
            return
        without_place = self._question == "enter" and state.kind is StateKind.NONE
        if without_place and lines_up_at_gate(self._context, self._resources.rooms):
            self._run_in_task(self._line_up(state))
        else:
            self._decide(state)

    async def _line_up(self, first: State) -> None:
        try:
            state = await line_up_at_gate(self._resources.app, self._context, self._room, first)
        except GatewayError as error:
            self._step(partial(self._failed, error))
        else:
            self._step(partial(self._decide, state))

    def _decide(self, state: State) -> None:
        resources, context = self._resources, self._context
        settings, metrics = resources.configuration.settings, resources.observers.metrics
        try:
            state = with_receipt(resources.signing_keys, state, self._member)
        except GatewayError as error:
            self._failed(error)
            return
        note_lineup(resources.admissions, context, state, self._member)
        check_place(self._room, state, settings, context.renews_only, metrics)
        context.may_reopen_claim = state.may_reopen
        if resources.passes is not None:
            issue_pass(resources.passes, context, state)
        self._pass_on()

    def _failed(self, error: GatewayError) -> None:
        resources = self._resources
        settings, metrics = resources.configuration.settings, resources.observers.metrics
        check_failed(self._room, error, settings, self._context.renews_only, metrics)
        self._pass_on()
