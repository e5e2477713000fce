"""What an operation needs of sizes that are symbols: checked when a call gives their values."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.dims import Dim, evaluate
from graphc.records import record


@record
class Requirement:
    """What the sizes of a call must satisfy: `left` RELATION `right`, with RELATION one of "==", ">=", "divides".

    `reason` says which operation needs it; `origin` is the user's line, "file:line".
    """

    left: Dim
    relation: str
    right: Dim
    reason: str
    origin: str

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether it is satisfied by these sizes of the symbols."""
        left, right = evaluate(self.left, sizes), evaluate(self.right, sizes)
        match self.relation:
            case "==":
                return left == right
            case ">=":
                return left >= right
            case _:
                return right % left == 0 if left else right == 0

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"
