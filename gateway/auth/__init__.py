"""Who is calling: tokens, the keys they are checked with, who may call what, and identity headers.

``authenticator`` is the way in; ``access`` and ``identity`` are pure policy. The only importer of ``jose``.
"""
