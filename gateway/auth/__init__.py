"""Authentication: tokens, the keys that verify them, the calls that need a token, and identity headers.

``access.Authenticator`` is the entry point. The policy in ``access`` and ``identity`` is pure. No other package
imports ``jose``.
"""
