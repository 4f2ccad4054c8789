"""What observes the gateway beside its metrics: the access log, and the metrics under Spring's names."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from gateway.observability.logging import AccessLog, LineWriter
from gateway.observability.metrics import Metrics
from gateway.observability.spring_names import OWN_LABELS, SpringMetrics
from gateway.settings.model import Settings


def access_log_of(settings: Settings, writer: LineWriter | None) -> AccessLog:
    """The access log, which writes to ``writer``; None: it writes nothing."""
    return AccessLog(
        writer,
        log_format=settings.log_format,
        user=settings.access_log_user,
        # Hashed user names are the same on all instances that share the secret. Without it, each instance has its own.
        key=(settings.identity_hmac_secret or secrets.token_hex()).encode(),
        service=settings.spring_application_name,
    )


def spring_metrics_of(
    settings: Settings, metrics: Metrics, count_routes: Callable[[], int]
) -> SpringMetrics | None:
    """The metrics under Spring's names, with the tags that the settings name; None if they are off."""
    if not settings.metrics_spring_names:
        return None
    tags = {"application": settings.spring_application_name} if settings.spring_environment else {}
    tags |= {re.sub(r"[^a-zA-Z0-9_]", "_", name): value for name, value in settings.metrics_tags}
    tags = {name: value for name, value in tags.items() if name not in OWN_LABELS}
    return SpringMetrics(metrics.registry, count_routes, tags=tags)
