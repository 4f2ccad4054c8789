"""Posting from a thread: statuses, failures in a word, credentials, no proxies, and being broken off."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.observability.zipkin import Poster, PostFailed
from tests.support.collector import a_collector


async def test_the_answers_status_is_returned_and_the_body_arrives() -> None:
    async with a_collector() as collector:
        collector.statuses = [400]
        poster = Poster(f"{collector.url}?tenant=a")
        assert await asyncio.to_thread(poster.post, b"[]") == 400
        assert await asyncio.to_thread(poster.post, b"[1]") == 202
        assert collector.posts == [b"[]", b"[1]"]
        assert collector.headers[0]["content-type"] == "application/json"
        assert "authorization" not in collector.headers[0]


async def test_user_and_password_of_the_address_are_sent_as_basic_credentials() -> None:
    async with a_collector() as collector:
        address = collector.url.replace("http://", "http://me:p%40ss@")
        await asyncio.to_thread(Poster(address).post, b"[]")
        assert collector.headers[0]["authorization"] == "Basic bWU6cEBzcw=="
        assert "@" not in collector.headers[0]["host"]


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with a_collector() as collector:
        assert await asyncio.to_thread(Poster(collector.url).post, b"[]") == 202


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with a_collector() as collector:
        collector.statuses = [307]
        assert await asyncio.to_thread(Poster(collector.url).post, b"[]") == 307
        assert len(collector.posts) == 1


def test_a_refused_connection_is_told_without_the_address() -> None:
    with pytest.raises(PostFailed) as failed:
        Poster("http://me:hunter2@127.0.0.1:1/spans").post(b"[]")
    assert str(failed.value) == "ConnectionRefusedError"


def test_a_collector_that_does_not_answer_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(PostFailed, match="TimeoutError"):
        Poster(f"http://127.0.0.1:{silent.getsockname()[1]}/").post(b"[]", 0.05)


async def test_a_post_under_way_is_broken_off_and_none_follows() -> None:
    async with a_collector() as collector:
        collector.open.clear()
        poster = Poster(collector.url)
        posting = asyncio.create_task(asyncio.to_thread(poster.post, b"[]", 50.0))
        await asyncio.to_thread(collector.posted.wait)
        poster.abandon()
        with pytest.raises(PostFailed):
            await posting
        with pytest.raises(PostFailed, match="closed"):
            await asyncio.to_thread(poster.post, b"[]")
        assert len(collector.posts) == 1
