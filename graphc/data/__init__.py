"""Data sets, and series cut for recurrent networks, as arrays."""

from graphc.data.stream import stream

__all__ = ["stream"]
