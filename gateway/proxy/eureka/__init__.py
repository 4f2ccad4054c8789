"""Eureka: who is registered, and being registered oneself."""

from gateway.proxy.eureka.client import Eureka, discovering

__all__ = ["Eureka", "discovering"]
