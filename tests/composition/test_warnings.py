"""Warnings that need more than one part of the gateway."""

from __future__ import annotations

import pytest

from gateway.composition.warnings import warnings_of_keys
from gateway.routing.spec.loader import parse
from gateway.settings.model import Settings


@pytest.mark.parametrize(
    ("sections", "warned"),
    [
        ("access: {public: [/**]}\nrooms: {default: {identity: visitor}}", False),
        ("access: {public: [GET /**]}\nrooms: {default: {identity: visitor}}", True),
        ("access: {public: [/**]}\nrooms: {default: {identity: either}}", True),
        ("access: {public: [/**]}\nrooms: {default: {identity: visitor}, other: {capacity: 1}}", True),
        ("rooms: {default: {identity: visitor}}", True),
    ],
)
def test_keys_are_missed_only_where_a_call_can_need_a_token(sections: str, warned: bool) -> None:
    table = parse(f"routes: []\n{sections}".encode(), "routes.yaml", {})
    assert bool(warnings_of_keys(Settings.from_env({"GATEWAY_PROFILE": "plain"}), {}, table)) == warned
