"""Reads ``services:`` from a document: instances of services, and how each service is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.resilience.services import Balance, EjectPolicy, HashKind, ServicePolicy
from gateway.routing.route import parse_instance
from gateway.routing.spec.document import Fields, Items, Node, Text, plain_name
from gateway.routing.spec.issues import Issues, RuleViolation
from gateway.routing.spec.model import EJECT, INSTANCE, SERVICE, Keys
from gateway.routing.spec.sections import expect_mapping, fields_of, given, texts, value_of
from gateway.routing.spec.value_types import ValueType

DEFAULT_MAX_WAITING: Final = 100


def read_services(
    node: Node | None, issues: Issues
) -> tuple[dict[str, tuple[str, ...]], dict[str, ServicePolicy]]:
    """Static instances by lower-case service name, and the policies of services that are mappings. A text may hold
    several instances, separated by commas, or none."""
    services: dict[str, tuple[str, ...]] = {}
    policies: dict[str, ServicePolicy] = {}
    if not isinstance(node, Fields):
        expect_mapping(node, "services", issues)
        return services, policies
    for name, value in node.entries.items():
        title, service = f"services.{name}", name.lower()
        if isinstance(value, Fields):
            policies[service] = _policy(value, title, issues)
            services[service] = tuple(policies[service].weights)
        else:
            services[service] = tuple(dict.fromkeys(_urls(value, title, issues)))
    return services, policies


def _urls(node: Node, title: str, issues: Issues) -> list[str]:
    urls = []
    for text in texts(node, title, issues):
        for part in filter(None, (part.strip() for part in text.value.split(","))):
            try:
                urls.append(parse_instance(part))
            except RuleViolation as error:
                issues.add_violation(text.line, error)
    return urls


def _policy(node: Fields, title: str, issues: Issues) -> ServicePolicy:
    fields = fields_of(node, SERVICE, issues, title)
    balance: Balance = _read(fields, SERVICE, "balance", issues) or "round-robin"
    hashed = _read(fields, SERVICE, "hash", issues)
    if (balance == "hash") != (hashed is not None):
        issues.add(
            node.line, "service", f"{title}: balance: hash and hash belong together; write both or none"
        )
    kind, _, name = (hashed or "").partition(":")
    connections = _read(fields, SERVICE, "max-connections", issues) or 0
    waiting = _read(fields, SERVICE, "max-waiting", issues)
    if waiting is not None and not connections:
        issues.add(node.line, "service", f"{title}: max-waiting has no effect without max-connections")
    eject = given(fields, "eject")
    return ServicePolicy(
        _weights(fields.get("instances"), title, issues),
        balance,
        cast(HashKind, kind) if kind else None,
        name,
        None if eject is None else _eject(eject, f"{title}.eject", issues),
        connections,
        DEFAULT_MAX_WAITING if waiting is None else waiting,
    )


def _weights(node: Node | None, title: str, issues: Issues) -> Mapping[str, int]:
    """The weight of each instance."""
    weights: dict[str, int] = {}
    items = node.items if isinstance(node, Items) else () if node is None else (node,)
    for item in items:
        if not isinstance(item, Fields):
            weights.update(dict.fromkeys(_urls(item, f"{title}.instances", issues), 1))
            continue
        fields = fields_of(item, INSTANCE, issues, f"an instance of {title}")
        uri = given(fields, "uri")
        if not isinstance(uri, Text):
            issues.add(item.line, "service", f"an instance of {title} needs a uri, which is one text")
            continue
        weight = _read(fields, INSTANCE, "weight", issues)
        weights.update(
            dict.fromkeys(_urls(uri, f"{title}.instances", issues), 1 if weight is None else weight)
        )
    return weights


def _eject(node: Node, title: str, issues: Issues) -> EjectPolicy:
    fields, default = fields_of(node, EJECT, issues, title), EjectPolicy()
    failures, time, share = (_read(fields, EJECT, key, issues) for key in ("failures", "time", "max"))
    return EjectPolicy(
        default.failures if failures is None else failures,
        default.seconds if time is None else time,
        default.share if share is None else share,
    )


def _read(fields: dict[str, Node], keys: Keys, name: str, issues: Issues) -> Any:
    """The value of a key, as its type in the model reads it; None if it is missing or wrong."""
    of = keys[name].holds
    assert isinstance(of, ValueType)  # noqa: S101 - so is the model
    return value_of(fields.get(plain_name(name)), name, of, "service", issues)
