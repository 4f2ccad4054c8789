"""The health of each component: UP, DOWN, UNKNOWN or OUT_OF_SERVICE, with details that hold no secrets."""

from __future__ import annotations

from gateway.api.rooms import following_object
from gateway.api.services import instance_object
from gateway.auth.jwks import Jwks
from gateway.composition.route_sources import RouteSources
from gateway.discovery.config_server.client import ConfigServer
from gateway.observability.logging import timestamp
from gateway.proxy.load_balancer import Instances
from gateway.waiting_room.keys import DEFAULT_ROOM
from gateway.waiting_room.rooms import Rooms

Checked = tuple[bool | str, dict[str, object]]
"""Whether a component is up (False: UNKNOWN) or its status, and details."""


def redis_health(rooms: Rooms) -> Checked:
    """DOWN while the probe finds Redis away. UNKNOWN while Redis answers but the events of the rooms are not
    received."""
    state = rooms.redis_state
    if state.away:
        return "DOWN", {"since": timestamp(state.away_since), "reason": state.away}
    details: dict[str, object] = {}
    if state.refuses:
        details = {"refusesWrites": state.refuses, "since": timestamp(state.refuses_since)}
    if rooms.refused_scripts:
        details["refusedScripts"] = rooms.refused_scripts
    if rooms.failing_scripts:
        details["failingScripts"] = rooms.failing_scripts
    if rooms.named.needed:
        details["roomsMade"] = len(rooms.named)
    if not rooms.subscription.listening.is_set():
        return False, details | {"reason": "events of the rooms are not heard"}
    return True, details


def older_system_health(rooms: Rooms) -> Checked:
    """Whether an older system is followed, as this instance last learned. Following one is healthy."""
    # There is no room while the gateway is not ready.
    following = next((room.following for room in rooms if room.name == DEFAULT_ROOM), None)
    details: dict[str, object] = {"following": following is not None}
    if following is not None:
        details |= following_object(following)
    return True, details


def key_health(jwks: Jwks) -> Checked:
    """OUT_OF_SERVICE if the key set comes from an issuer whose document could never be read: no token can be
    checked."""
    status = jwks.status()
    if status.discovery_error is not None:
        return "OUT_OF_SERVICE", {"keys": status.keys, "reason": status.discovery_error}
    return jwks.keys_known, {"keys": status.keys}


def config_health(sources: RouteSources, config: ConfigServer) -> Checked:
    """OUT_OF_SERVICE while nothing is served because the Config Server's answer is unusable."""
    status = config.status()
    routes = "Config Server" if status.gives_routes else "file"
    details: dict[str, object] = {
        "version": status.version,
        "label": status.label,
        "routes": "none" if sources.unready else routes,
        "failures": status.failures,
    }
    if status.reason:
        details["reason"] = status.reason
    details["ignored"] = status.ignored
    if sources.unready:
        return "OUT_OF_SERVICE", {"reason": sources.unready} | details
    return not status.failures, details


def service_health(instances: Instances) -> Checked:
    """DOWN while a service has instances and none of them is healthy or unchecked. The gateway itself is not: it serves
    all other routes, and goes on asking."""
    services = instances.report()
    down = any(each.instances and each.count("healthy") + each.count("unknown") == 0 for each in services)
    details: dict[str, object] = {
        each.service: [instance_object(one) for one in each.instances] for each in services
    }
    return "DOWN" if down else True, details
