"""``gateway demo``: a crowd goes through a real waiting room in front of real services, on loopback.

Nothing is imported here: only ``run`` and ``display`` need ``rich``, which the extra ``demo`` brings.
"""
