"""Looking at graphs and plans: printed forms and files."""

from graphc.inspect.dump import dump
from graphc.inspect.plan_text import plan_text

__all__ = ["dump", "plan_text"]
