"""The room in which the soak watches parking."""

ROOM = "held"
ABSENT, HOLD = 3.0, 8.0
"""Seconds."""

ROOMS_YAML = f"\nrooms: {{{ROOM}: {{capacity: 0, absent: {ABSENT:g}, hold: {HOLD:g}}}}}\n"
"""To be added to a route file."""
