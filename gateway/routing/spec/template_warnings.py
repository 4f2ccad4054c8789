"""Warnings about rooms that are named by calls: templates without settings, and settings that no gate names."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.room_names import STAR
from gateway.routing.spec.issues import Issues
from gateway.settings.spelling import nearest


def warn_of_templates(gated: Mapping[str, int], listed: Mapping[str, int], issues: Issues) -> None:
    """Adds these warnings. ``gated`` and ``listed``: the entries that gates and ``rooms:`` name, with their lines."""
    for entry, line in gated.items():
        if STAR in entry and entry not in listed:
            near = nearest(entry, sorted(each for each in listed if STAR in each))
            hint = f"; the nearest that is listed is {near!r}" if near else ""
            message = (
                f"rooms {entry!r}, which calls of this gate name, are not listed under rooms, so they have the "
                f"settings of the environment{hint}"
            )
            issues.warn(line, "room-template", message)
    for entry, line in listed.items():
        if STAR in entry and entry not in gated:
            message = (
                f"no gate names rooms {entry!r}, and yet any user may make them by lining up: correct the name, or "
                "remove the entry"
            )
            issues.warn(line, "room-template", message)
