"""Handlers and middlewares: parse, call, render."""
