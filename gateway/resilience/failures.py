"""The ways in which a call to a service fails, and the names that Java's programs have for them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from gateway.errors import (
    CircuitOpen,
    NoInstance,
    ServiceFailed,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)


class Failure(Enum):
    """One way to fail. The value is the Java class that Spring Cloud Gateway reports for it."""

    REFUSED = "java.net.ConnectException"
    """No connection could be made."""
    CONNECT_TIMEOUT = "io.netty.channel.ConnectTimeoutException"
    """The service did not accept the connection in time."""
    LOST = "reactor.netty.http.client.PrematureCloseException"
    """The connection ended before the head of an answer, or what came is not HTTP."""
    TIMEOUT = "org.springframework.cloud.gateway.support.TimeoutException"
    """The head of the answer did not come in time."""
    NO_INSTANCE = "org.springframework.cloud.gateway.support.NotFoundException"
    """The service has no instance."""


_IO: Final = frozenset({Failure.REFUSED, Failure.CONNECT_TIMEOUT, Failure.LOST})
_CONNECTING: Final = frozenset({Failure.REFUSED, Failure.CONNECT_TIMEOUT})
_ANSWERING: Final = frozenset({Failure.TIMEOUT})

FAILURES_BY_CLASS: Final[Mapping[str, frozenset[Failure]]] = {
    "java.lang.Throwable": frozenset(Failure),
    "java.lang.Exception": frozenset(Failure),
    "java.io.IOException": _IO,
    "java.net.SocketException": _IO,
    "java.net.ConnectException": _CONNECTING,
    "io.netty.channel.ConnectTimeoutException": frozenset({Failure.CONNECT_TIMEOUT}),
    "reactor.netty.http.client.PrematureCloseException": frozenset({Failure.LOST}),
    "java.util.concurrent.TimeoutException": _ANSWERING,
    "org.springframework.cloud.gateway.support.TimeoutException": _ANSWERING,
    "io.netty.handler.timeout.ReadTimeoutException": _ANSWERING,
    "org.springframework.web.server.ResponseStatusException": frozenset(
        {Failure.TIMEOUT, Failure.NO_INSTANCE}
    ),
    "org.springframework.cloud.gateway.support.NotFoundException": frozenset({Failure.NO_INSTANCE}),
}
"""The failures that each Java class stands for."""

_BY_SIMPLE_NAME: Final = {name.rpartition(".")[2]: failures for name, failures in FAILURES_BY_CLASS.items()}


def failures_named(name: str) -> frozenset[Failure] | None:
    """The failures that a Java class stands for, by its full name or the last part of it; None for any other class."""
    return FAILURES_BY_CLASS.get(name) or _BY_SIMPLE_NAME.get(name)


def failure_of(error: UpstreamError) -> Failure:
    """Which failure an error reports."""
    if isinstance(error, NoInstance):
        return Failure.NO_INSTANCE
    if isinstance(error, UpstreamTimeout):
        return Failure.CONNECT_TIMEOUT if error.phase == "connect" else Failure.TIMEOUT
    if isinstance(error, UpstreamUnreachable) and error.phase == "connect":
        return Failure.REFUSED
    return Failure.LOST


class Cause(NamedTuple):
    """Why a call failed, as Spring Cloud Gateway would tell a fallback: the name of a Java class, and a text without an
    address."""

    type: str
    message: str


def cause_of(error: UpstreamError) -> Cause:
    """What a fallback is told of an error."""
    if isinstance(error, CircuitOpen):
        return Cause(
            "io.github.resilience4j.circuitbreaker.CallNotPermittedException",
            f"CircuitBreaker '{error.name}' is OPEN and does not permit further calls",
        )
    if isinstance(error, UpstreamBusy):
        return Cause(
            "reactor.netty.internal.shaded.reactor.pool.PoolAcquirePendingLimitException", str(error)
        )
    if isinstance(error, ServiceFailed):
        return Cause(
            "org.springframework.cloud.gateway.filter.factory."
            "SpringCloudCircuitBreakerFilterFactory$CircuitBreakerStatusCodeException",
            str(error.status),
        )
    if isinstance(error, UpstreamTimeout) and error.phase == "breaker":
        return Cause("java.util.concurrent.TimeoutException", _TEXTS[Failure.TIMEOUT])
    failure = failure_of(error)
    return Cause(failure.value, _TEXTS[failure])


_TEXTS: Final[Mapping[Failure, str]] = {
    Failure.REFUSED: "the service accepts no connection",
    Failure.CONNECT_TIMEOUT: "the service did not accept the connection in time",
    Failure.LOST: "the connection to the service ended before an answer",
    Failure.TIMEOUT: "the service did not answer in time",
    Failure.NO_INSTANCE: "the service has no instance",
}
