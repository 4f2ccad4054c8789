"""Live updates to people waiting: ``hub`` is the way in, ``response`` opens its streams.

``ports`` says what it needs of others. How an event is written (``frames``), when a stream ends
(``verdict``) and who is told when (``wheel``, ``pace``) are decided without any connection.
"""
