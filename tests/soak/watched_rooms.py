"""The rooms in which the soak watches single rules, each in a room of its own."""

PARKING_ROOM = "held"
ABSENT, HOLD = 3.0, 8.0
"""Seconds."""

RATE_ROOM = "paced"
PER_SECOND = 2
SESSION = 2.0
"""Seconds. Sessions end by themselves, and the capacity is never in the way."""

CLAIM_ROOM = "claimed"
CLAIM = 3.0
"""Seconds."""

DOOR_ROOM = "doored"
MAX_WAITING = 2
DOOR_SESSION = 90.0
"""Seconds: a round must be over before a session ends by itself."""

BOUND_ROOM = "bounded"
LINEUPS_PER_MINUTE = 3

ROOMS_YAML = f"""
rooms:
  {PARKING_ROOM}: {{capacity: 0, absent: {ABSENT:g}, hold: {HOLD:g}}}
  {RATE_ROOM}: {{capacity: 1000, duration: {SESSION:g}, rate: {PER_SECOND}/s}}
  {CLAIM_ROOM}: {{capacity: 1, duration: 60, claim: {CLAIM:g}, hold: 60}}
  {DOOR_ROOM}: {{capacity: 1, duration: {DOOR_SESSION:g}, claim: 20, absent: 20, hold: 60, relineup: keep,
    max_waiting: {MAX_WAITING}}}
  {BOUND_ROOM}: {{capacity: 0, lineups_per_minute: {LINEUPS_PER_MINUTE}, relineup: keep}}
"""
"""To be added to a route file."""
