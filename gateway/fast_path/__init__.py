"""Serves plain requests without aiohttp: straight from the bytes of the connection, by callbacks, without a task.

Most of the time that aiohttp spends on a request goes to its objects around the parser: a task, futures, streams,
request and response. For a plain request none of these is needed. The connection guard offers each whole request here
first; what this package does not serve goes to the aiohttp application, untouched, as if it had never been offered.

**Plain** is an HTTP/1.1 request that has arrived as a whole (its body, if any, is at most 64 KiB and has a
``Content-Length``), without ``Upgrade`` and ``Expect``, whose path has only characters that every reader takes
literally, for

* a service, by a route without an answer or a fallback of its own,
* the gateway's own calls ``lineup``, ``status`` and ``authorize`` (which has no body), or
* a new stream, which leaves the connection's guard with its first event,

with a token that is known or whose key is known, or with none. Refusals of such requests are plain too.

**This package decides nothing.** Resolution, CORS, overload, access, the gate, what a service gets and what the client
gets are the functions that the middlewares use, in the same order; so are counting, logging and tracing. A request
that cannot be finished without waiting (no idle connection, an answer in several parts, a slow client) goes on in a
task, in the coroutine that the application would have used.

**It may not**: read configuration that the middlewares do not read, answer anything that they would not answer, or give
a request back after it has counted, sent or changed anything. ``tests/fast_path`` sends every request both ways and
compares what the service and the client got, byte for byte. ``FAST_PATH=false`` turns the package off.
"""
