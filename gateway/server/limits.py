"""What one client's connection may take, and how many of them may do what holds them for long."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

from gateway.proxy.downloads import DownloadLimits
from gateway.proxy.uploads import UploadLimits
from gateway.settings.model import Settings

UNLIMITED_FILES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may take. Times are in seconds, sizes in bytes."""

    head_seconds: float = 10.0
    """From the first byte of a head to its last."""
    idle_seconds: float = 75.0
    """Without a request, before the first and between two."""
    body_seconds: float = 30.0
    """Without a byte of a body that is not complete, while the gateway would take one. ``proxy.uploads`` also holds
    each body that is read to a minimum rate."""
    reader_seconds: float = 60.0
    """How far a client for whom bytes wait may be behind ``reader_rate``; also its longest pause."""
    reader_rate: int = 500
    """What such a client takes at least, in bytes per second; 0 for no minimum."""
    linger_seconds: float = 2.0
    """Reading on after the last answer, so that it is not lost on the way to a client still sending."""
    line_bytes: int = 8190
    """The request line; also one header, and one line between chunks."""
    head_bytes: int = 64 * 1024
    """All of a head."""
    headers: int = 100


def limits_of(settings: Settings) -> Limits:
    """What the settings allow one connection."""
    return Limits(
        head_seconds=settings.request_head_timeout_seconds,
        idle_seconds=settings.keep_alive_timeout_seconds,
        body_seconds=settings.request_body_timeout_seconds,
        reader_seconds=settings.response_write_timeout_seconds,
        reader_rate=settings.response_min_rate,
    )


def upload_limits_of(settings: Settings) -> UploadLimits:
    """How slow a body may come."""
    return UploadLimits(
        timeout=settings.request_body_timeout_seconds,
        min_rate=settings.request_body_min_rate,
        per_client=settings.slow_uploads_per_client,
        per_service=settings.slow_uploads_per_service,
    )


def download_limits_of(settings: Settings) -> DownloadLimits:
    """How many slow clients may keep services waiting."""
    return DownloadLimits(
        per_client=settings.slow_downloads_per_client, per_service=settings.slow_downloads_per_service
    )


def max_streams(settings: Settings) -> int:
    """``SSE_MAX_STREAMS``, or what the limit of file descriptors leaves: a tenth, and 256, stay for services,
    Redis, files, and for saying "full"."""
    if settings.sse_max_streams is not None:
        return settings.sse_max_streams
    return max(0, int(file_limit() * 0.9) - 256)


def max_tunnels(settings: Settings) -> int:
    """``WEBSOCKET_MAX``, or as many as take two fifths of the file descriptors, two each."""
    if settings.websocket_max is not None:
        return settings.websocket_max
    return file_limit() // 5


def file_limit() -> int:
    """How many files this process may have open. No limit counts as a million, for it is the number -1 or nearly
    endless."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED_FILES if soft == resource.RLIM_INFINITY else min(soft, UNLIMITED_FILES)
