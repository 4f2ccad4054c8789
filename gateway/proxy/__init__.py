"""Passing requests on to services: header policy, balancing, pooled connections, streaming."""
