"""A lenient service as a process, and whether a spelling reaches the gated call there."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_SECONDS = 60.0


@contextmanager
def service(command: Sequence[str], **options: str) -> Iterator[int]:
    """Run a service that writes ``ready PORT``; yields the port."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.fullmatch(r"ready (\d+)\n", line):
                yield int(found[1])
                return
        raise RuntimeError(f"{command[0]} did not start")
    finally:
        process.terminate()
        process.communicate(timeout=_SECONDS)


def reaches(port: int, target: str) -> bool:
    """Whether a POST of exactly this target is answered by the gated call, and not by an error."""
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        head = f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        try:
            connection.sendall(head.encode())
            answer = connection.recv(64)
        except ConnectionError:
            return False
    return re.match(rb"HTTP/1\.[01] 200 ", answer) is not None
