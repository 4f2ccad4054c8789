"""Failures of calls to services, and their names in Java."""

from __future__ import annotations

import pytest

from gateway.errors import NoInstance, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.resilience.failures import FAILURES_BY_CLASS, Failure, failure_of, failures_named


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (UpstreamUnreachable("x", "connect"), Failure.REFUSED),
        (UpstreamUnreachable("x"), Failure.LOST),
        (UpstreamTimeout("connect"), Failure.CONNECT_TIMEOUT),
        (UpstreamTimeout("response"), Failure.TIMEOUT),
        (NoInstance("x"), Failure.NO_INSTANCE),
    ],
)
def test_an_error_is_a_failure(error: UpstreamError, failure: Failure) -> None:
    assert failure_of(error) is failure


@pytest.mark.parametrize("failure", Failure)
def test_the_class_of_a_failure_stands_for_it(failure: Failure) -> None:
    assert failure in FAILURES_BY_CLASS[failure.value]
    assert failure in FAILURES_BY_CLASS["java.lang.Throwable"]


def test_a_class_may_be_named_by_its_last_part() -> None:
    for name, failures in FAILURES_BY_CLASS.items():
        assert failures_named(name) == failures
        assert failures_named(name.rpartition(".")[2]) == failures
    assert failures_named("io.IOException") is None
    assert failures_named("") is None
