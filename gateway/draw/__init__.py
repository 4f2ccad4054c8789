"""The draw of a pre-queue, which anyone can check afterwards: entries, Merkle tree, ranks, and the published file.

Everything here is pure and knows no Redis. ``docs/reference/draw.md`` has the formulas and test vectors;
``docs/explanation/draw.md`` says what a draw proves.
"""
