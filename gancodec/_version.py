"""The version, on the ground where every room may have it."""

__version__ = "0.1.0"
