"""An API gateway with a virtual waiting room."""

__version__ = "0.2.0"
