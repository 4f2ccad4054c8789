"""Policies for bad services: as decisions, and over real connections to services that misbehave."""
