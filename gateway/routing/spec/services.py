"""Reads ``services:`` from a document: instances of services, and how each service is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from gateway.resilience.services import Balance, EjectPolicy, HashKind, HealthPolicy, ServicePolicy
from gateway.routing.route import parse_instance
from gateway.routing.spec.document import Fields, Items, Node, Text, filled, plain, plain_name
from gateway.routing.spec.issues import Issues, RuleViolation
from gateway.routing.spec.sections import expect_mapping, fields_of, given, texts, value_of
from gateway.routing.spec.service_keys import EJECT, HEALTH, INSTANCE, SERVICE
from gateway.routing.spec.shapes import Keys
from gateway.routing.spec.tls import TLS_KEYS, TlsKeys, TlsViolation, read_tls
from gateway.routing.spec.value_types import ValueType

DEFAULT_MAX_WAITING: Final = 100


class Services(NamedTuple):
    """What the file says of services, by lower-case name: static instances of all, and of services that are mappings
    their policies and what they say about TLS."""

    instances: dict[str, tuple[str, ...]]
    policies: dict[str, ServicePolicy]
    tls: dict[str, TlsKeys]


def read_services(node: Node | None, issues: Issues) -> Services:
    """The services of the file. A text may hold several instances, separated by commas, or none."""
    services = Services({}, {}, {})
    if not isinstance(node, Fields):
        expect_mapping(node, "services", issues)
        return services
    for name, value in node.entries.items():
        title, service = f"services.{name}", name.lower()
        if not isinstance(value, Fields):
            services.instances[service] = tuple(dict.fromkeys(_urls(value, title, issues)))
            continue
        policy = services.policies[service] = _policy(value, title, issues)
        services.instances[service] = instances = tuple(policy.weights)
        if (tls := _tls(value, title, issues)) is not None:
            services.tls[service] = tls
            if instances and not any(url.startswith("https:") for url in instances):
                issues.warn(
                    value.line,
                    "tls",
                    f"{title}: its tls-… keys have no effect: no instance here has an https:// address",
                )
    return services


def _tls(node: Fields, title: str, issues: Issues) -> TlsKeys | None:
    """What the service says about TLS; None if that is nothing, or wrong, which is reported."""
    found = {plain_name(name): value for name, value in node.entries.items()}
    nodes = {key: found[plain_name(key)] for key in TLS_KEYS if plain_name(key) in found}
    values: dict[str, object] = {}
    line = node.line
    try:
        for key, value in nodes.items():
            line = value.line
            values[key] = filled(value) if isinstance(value, Text) and value.unset else plain(value)
        tls = read_tls(values, issues.file)
    except RuleViolation as error:
        line = nodes[error.key].line if isinstance(error, TlsViolation) else line
        issues.add(line, error.rule, f"{title}: {error.message}")
        return None
    return None if tls is None else TlsKeys(values, tls)


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
    eject, health = given(fields, "eject"), fields.get("health")
    return ServicePolicy(
        _weights(fields.get("instances"), title, issues),
        balance,
        cast(HashKind, kind) if kind else None,
        name,
        None if eject is None else _eject(eject, f"{title}.eject", issues),
        connections,
        DEFAULT_MAX_WAITING if waiting is None else waiting,
        None if health is None else _health(health, f"{title}.health", issues),
        _read(fields, SERVICE, "slow-start", issues) or 0.0,
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


def _health(node: Node, title: str, issues: Issues) -> HealthPolicy:
    fields, default = fields_of(node, HEALTH, issues, title), HealthPolicy("/")
    if given(fields, "path") is None:
        issues.add(
            node.line, "service", f"{title} needs a path, as /health, that the instances are asked for"
        )
    path, interval, timeout, unhealthy, healthy = (
        _read(fields, HEALTH, key, issues) for key in ("path", "interval", "timeout", "unhealthy", "healthy")
    )
    return HealthPolicy(
        path or default.path,
        default.interval if interval is None else interval,
        default.timeout if timeout is None else timeout,
        default.unhealthy if unhealthy is None else unhealthy,
        default.healthy if healthy is None else healthy,
    )


def _read(fields: dict[str, Node], keys: Keys, name: str, issues: Issues) -> Any:
    """The value of a key, as its type in the model reads it; None if it is missing or wrong."""
    of = keys[name].holds
    assert isinstance(of, ValueType)  # noqa: S101 - so is the model
    return value_of(fields.get(plain_name(name)), name, of, "service", issues)
