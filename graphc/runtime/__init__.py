"""Running plans: binding to sizes, memory, the native walk, threads, executables and programs."""

from graphc.runtime.executable import BoundCall, Executable
from graphc.runtime.program import Program

__all__ = ["BoundCall", "Executable", "Program"]
