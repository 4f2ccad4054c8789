"""Answers of a hostile service: the client gets one sound answer, a broken one, or 502, and nobody gets another's."""

from __future__ import annotations

import pytest

from tests.hostile import answers
from tests.hostile.answers import Reply
from tests.hostile.rig import Gateway, request


def tables() -> list[object]:
    named = {
        "splitting": answers.SPLITTING,
        "status": answers.STATUS_LINES,
        "framing": answers.FRAMING,
        "interim": answers.INTERIM,
        "size": answers.SIZES,
        "hop by hop": answers.HOP_BY_HOP,
    }
    return [
        pytest.param(reply, id=f"{table}: {name}")
        for table, replies in named.items()
        for name, reply in replies.items()
    ]


@pytest.mark.parametrize("reply", tables())
def test_a_client_gets_its_own_answer_whole_or_broken_and_nothing_else(
    gateway: Gateway, reply: Reply
) -> None:
    gateway.upstream.answers["/open/evil"] = (reply.raw or b"\n", reply.stays)
    with gateway.client() as client:
        client.send(request(f"{reply.method} /open/evil HTTP/1.1"))
        answer = client.answer(to_head=reply.method == "HEAD")
        assert (answer.status if answer else 0) in reply.statuses, answer
        if answer is not None:
            if reply.body is not None and answer.status != 502:
                assert answer.body == reply.body
            assert not set(reply.without) & set(answer.headers)
            if answer.status == 502:
                assert reply.method == "HEAD" or answer.code == "UPSTREAM_UNREACHABLE"
                assert gateway.upstream.url.encode()[7:] not in answer.body
            assert client.rest(0.02)[0] == b""
    for number in range(3):
        target = f"/open/next/{number}"
        assert gateway.ask(target).body == f"GET {target}".encode()
