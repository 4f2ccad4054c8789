"""The limits of connections, bodies, streams and WebSockets, from the settings."""

from __future__ import annotations

from gateway.proxy.downloads import DownloadLimits
from gateway.proxy.uploads import UploadLimits
from gateway.server.limits import MAX_DROPPED_BODY_BYTES, ConnectionLimits, file_limit
from gateway.settings.model import Settings


def limits_of(settings: Settings) -> ConnectionLimits:
    """The limits of one client connection."""
    return ConnectionLimits(
        head_seconds=settings.request_head_timeout_seconds,
        idle_seconds=settings.keep_alive_timeout_seconds,
        body_seconds=settings.request_body_timeout_seconds,
        dropped_body_seconds=settings.request_body_timeout_seconds
        + (
            MAX_DROPPED_BODY_BYTES / settings.request_body_min_rate
            if settings.request_body_min_rate
            else 3600.0
        ),
        slow_client_seconds=settings.response_write_timeout_seconds,
        slow_client_rate=settings.response_min_rate,
    )


def upload_limits_of(settings: Settings) -> UploadLimits:
    """The limits for slow request bodies."""
    return UploadLimits(
        timeout=settings.request_body_timeout_seconds,
        min_rate=settings.request_body_min_rate,
        per_client=settings.slow_uploads_per_client,
        per_service=settings.slow_uploads_per_service,
    )


def download_limits_of(settings: Settings) -> DownloadLimits:
    """The limits for slow clients: how many may keep services waiting."""
    return DownloadLimits(
        per_client=settings.slow_downloads_per_client, per_service=settings.slow_downloads_per_service
    )


def max_streams(settings: Settings) -> int:
    """``SSE_MAX_STREAMS``, or what the limit of file descriptors allows: a tenth, and 256, are kept for services,
    Redis, files, and for answering "full"."""
    if settings.sse_max_streams is not None:
        return settings.sse_max_streams
    return max(0, int(file_limit() * 0.9) - 256)


def max_tunnels(settings: Settings) -> int:
    """``WEBSOCKET_MAX``, or as many as two fifths of the file descriptors allow; each takes two."""
    if settings.websocket_max is not None:
        return settings.websocket_max
    return file_limit() // 5
