"""Running plans: binding to sizes, memory, the native walk, threads, executables and programs."""

from graphc.runtime.caller import BoundCall
from graphc.runtime.executable import Executable
from graphc.runtime.program import Program

__all__ = ["BoundCall", "Executable", "Program"]
