"""A service with settings of its own: which instance is next, which ones pass their health checks, and which warm up.

Decisions alone: ``load_balancer`` asks, ``health_checks`` reports. Times are those of the caller's clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gateway.proxy.upstream import UpstreamBase
from gateway.resilience.services import HealthPolicy, ServicePolicy, hash_score, slow_start_share

Number = int | float


class CheckedInstance:
    """What the health checks of an instance have found."""

    __slots__ = ("healthy", "joined_later", "reason", "row", "since")

    def __init__(self, since: float, *, joined_later: bool) -> None:
        self.healthy: bool | None = None
        """None until the first check has ended."""
        self.since = since
        """When ``healthy`` became what it is."""
        self.row = 0
        """How many checks in a row have contradicted ``healthy``."""
        self.reason = ""
        """Why the last check failed that made the instance unhealthy."""
        self.joined_later = joined_later
        """Whether the service had other instances when this one came."""

    def take(self, problem: str, policy: HealthPolicy, now: float) -> bool:
        """A check has ended: ``problem`` says why it failed, and is empty if it passed. Returns whether ``healthy`` has
        changed. The first check of an instance decides alone; all others need as many in a row as ``policy`` says."""
        passed = not problem
        if passed is self.healthy:
            self.row = 0
            return False
        self.row += 1
        needed = policy.healthy if passed else policy.unhealthy
        if self.healthy is not None and self.row < needed:
            return False
        self.healthy, self.since, self.row, self.reason = passed, now, 0, problem
        return True


class ServiceBalancer:
    """Chooses among the instances of one service, as its ``policy`` says."""

    def __init__(self, policy: ServicePolicy) -> None:
        self._members: tuple[UpstreamBase, ...] = ()
        self._in_use: tuple[UpstreamBase, ...] = ()
        """The members that are healthy; all of them if none is."""
        self._turn = 0
        self.checks: dict[UpstreamBase, CheckedInstance] = {}
        """By instance; empty if the service has no health checks."""
        self._warming: dict[UpstreamBase, float] = {}
        """When instances began to warm up, of those that still do."""
        self.set_policy(policy)

    def set_policy(self, policy: ServicePolicy) -> None:
        """The policy from now on. What is known of the instances stays."""
        self.policy = policy
        self._configured = {UpstreamBase.parse(url): weight for url, weight in policy.weights.items()}
        self._credit: dict[UpstreamBase, Number] = {}
        self._weights: dict[UpstreamBase, Number] = {}
        self._equal = True
        """Whether all instances have the same weight."""

    def set_members(self, members: tuple[UpstreamBase, ...], now: float) -> None:
        """The instances from now on, each address of a name being one. New ones warm up, unless they are the first, or
        the same instance was there without its address."""
        before, first = {*self._members}, not self._members
        later = {
            base for base in members if not first and base not in before and base.configured not in before
        }
        self._members = members
        self._weights = {base: self._configured.get(base.configured, 1) for base in members}
        self._equal = len(set(self._weights.values())) <= 1
        if self.policy.health is None:
            self.checks = {}
            for base in later:
                self.warm_up(base, now)
        else:
            self.checks = {
                base: self.checks.get(base) or CheckedInstance(now, joined_later=base in later)
                for base in members
            }
        self._warming = {base: since for base, since in self._warming.items() if base in self._weights}
        self._credit = {base: credit for base, credit in self._credit.items() if base in self._weights}
        self._set_in_use()

    def _set_in_use(self) -> None:
        """Decided in advance, because each request needs it."""
        checks = self.checks
        healthy = tuple(base for base in self._members if base in checks and checks[base].healthy)
        self._in_use = healthy or self._members

    def warm_up(self, base: UpstreamBase, now: float) -> None:
        """The instance is new, or has recovered: its share grows from now on."""
        if self.policy.slow_start and base in self._weights:
            self._warming[base] = now

    def checked(self, base: UpstreamBase, problem: str, now: float) -> bool:
        """A health check of ``base`` has ended: see ``CheckedInstance.take``."""
        instance, policy = self.checks.get(base), self.policy.health
        if instance is None or policy is None:
            return False
        recovers = instance.healthy is False or instance.joined_later
        changed = instance.take(problem, policy, now)
        if changed and instance.healthy:
            if recovers:
                self.warm_up(base, now)
            instance.joined_later = False
        if changed:
            self._set_in_use()
        return changed

    @property
    def none_healthy(self) -> bool:
        """Whether there are health checks and no instance passes them. Then they decide nothing: it is more likely that
        the checks are wrong, and a request to an unhealthy instance costs no more than a refusal."""
        return bool(self.checks) and not any(each.healthy for each in self.checks.values())

    def share(self, base: UpstreamBase, now: float) -> float:
        """The part of its weight that the instance has: less than 1 while it warms up."""
        since = self._warming.get(base)
        return 1.0 if since is None else slow_start_share(now - since, self.policy.slow_start)

    def choose(
        self,
        bases: Sequence[UpstreamBase],
        key: str,
        load: Mapping[UpstreamBase, int],
        now: float,
    ) -> UpstreamBase:
        """One of ``bases``, of which there is at least one: a healthy one if there is any. ``load``: how many requests
        each instance has."""
        if bases is self._members:
            bases = self._in_use
        elif self.checks:
            checks = self.checks
            bases = [base for base in bases if base in checks and checks[base].healthy] or bases
        balance = self.policy.balance
        if balance == "hash" and key:
            # A key that moved twice, away from an instance that warms up and back, would lose what it has there.
            weights = self._weights
            return max(bases, key=lambda base: hash_score(key, str(base), weights.get(base, 1)))
        if self._warming:
            weights = self._warm_weights(now)
            if balance == "least-requests":
                # With few requests, the one with the fewest would always be another instance. So, as in Envoy, they
                # take turns by weights that shrink with the requests under way.
                weights = {base: weight / (load.get(base, 0) + 1) for base, weight in weights.items()}
            return self._in_turn(bases, weights)
        if balance == "least-requests":
            bases = self._least_loaded(bases, load)
        if self._equal:
            self._turn += 1
            return bases[self._turn % len(bases)]
        return self._in_turn(bases, self._weights)

    def _least_loaded(
        self, bases: Sequence[UpstreamBase], load: Mapping[UpstreamBase, int]
    ) -> Sequence[UpstreamBase]:
        """Those with the fewest requests for their weight."""
        scores: list[Number]
        if self._equal:
            scores = [load.get(base, 0) for base in bases]
        else:
            scores = [(load.get(base, 0) + 1) / self._weights.get(base, 1) for base in bases]
        least = min(scores)
        return [base for base, score in zip(bases, scores, strict=True) if score == least]

    def _warm_weights(self, now: float) -> dict[UpstreamBase, Number]:
        window = self.policy.slow_start
        self._warming = {base: since for base, since in self._warming.items() if now - since < window}
        return {base: weight * self.share(base, now) for base, weight in self._weights.items()}

    def _in_turn(
        self, bases: Collection[UpstreamBase], weights: Mapping[UpstreamBase, Number]
    ) -> UpstreamBase:
        """Smooth weighted round robin, as in NGINX: each gets its weight as credit, and the one with the most pays for
        all."""
        credit, total = self._credit, 0.0
        for base in bases:
            weight = weights.get(base, 1)
            credit[base] = credit.get(base, 0) + weight
            total += weight
        chosen = max(bases, key=lambda base: credit[base])
        credit[chosen] -= total
        return chosen
