"""``gateway demo``: a crowd goes through a real waiting room in front of real services, on loopback."""

from gateway.demo.run import main

__all__ = ["main"]
