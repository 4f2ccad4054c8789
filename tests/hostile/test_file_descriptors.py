"""More connections than there are file descriptors: a gateway serves those it has, and comes back."""

from __future__ import annotations

import contextlib
import select
import socket
import time

from tests.hostile.rig import Client, Gateway, request
from tests.support.gateway_process import cpu_seconds, limited_files
from tests.support.raw_service import RawUpstream


def test_a_gateway_out_of_descriptors_serves_on_and_recovers(start: object, upstream: RawUpstream) -> None:
    assert callable(start)
    gateway: Gateway = start("c", before=limited_files(256))
    first = Client(gateway.port)
    crowd = [socket.create_connection(("127.0.0.1", gateway.port), timeout=5) for _ in range(600)]
    try:
        with first:
            first.send(request("GET /open/inside HTTP/1.1"))
            answer = first.answer()
            assert answer is not None
            assert answer.body == b"GET /open/inside"
        turned_away = 0
        limit = time.monotonic() + 10
        while turned_away <= 100 and time.monotonic() < limit:
            ready, _, _ = select.select(crowd, [], [], 1.0)
            for one in ready:
                with contextlib.suppress(OSError):
                    turned_away += one.recv(12) == b"HTTP/1.1 503"
        assert turned_away > 100
        before = cpu_seconds(gateway.process.pid)
        time.sleep(0.5)
        assert cpu_seconds(gateway.process.pid) - before < 0.2, "the accept loop spins"
    finally:
        for one in crowd:
            one.close()
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        with Client(gateway.port) as client:
            client.send(request("GET /open/after HTTP/1.1"))
            answer = client.answer()
            if answer is not None and answer.status == 200:
                break
        time.sleep(0.02)
    assert answer is not None
    assert answer.body == b"GET /open/after"
    assert gateway.log.read_text().count("turning connections away") in {1, 2}, "once in ten seconds"
    assert "out of system resource" not in gateway.log.read_text()
    assert "Too many open files" not in gateway.log.read_text()
