"""The gateway's own API: one resource per module, each with its endpoints, and the envelope of all answers."""
