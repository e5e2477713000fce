"""Updates: what each parameter and state becomes in a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphc.errors import GraphError
from graphc.graph.node import Node
from graphc.graph.operators import builder


class Updates(Mapping[Node, Node]):
    """{parameter or state: node of its new value}, joined with `|`; two updates of one leaf raise GraphError.

    A plain dict joins to it from either side, and `graphc.compile` takes both.
    """

    def __init__(self, updates: Mapping[Node, Node]) -> None:
        self._values = dict(updates)

    def __getitem__(self, leaf: Node) -> Node:
        return self._values[leaf]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __or__(self, other: Mapping[Node, Node]) -> Updates:
        return _joined(self, other) if isinstance(other, Mapping) else NotImplemented  # pyright: ignore[reportUnnecessaryIsInstance]

    def __ror__(self, other: Mapping[Node, Node]) -> Updates:
        return _joined(other, self) if isinstance(other, Mapping) else NotImplemented  # pyright: ignore[reportUnnecessaryIsInstance]

    def __repr__(self) -> str:
        return f"<Updates of {len(self)} leaves>"


@builder("joining updates")
def _joined(first: Mapping[Node, Node], second: Mapping[Node, Node]) -> Updates:
    for leaf in second:
        if leaf in first:
            raise GraphError(
                f"two updates of one leaf: {leaf.describe()}\n  one: {first[leaf].describe()}\n"
                f"  other: {second[leaf].describe()}\n  minimize one sum of losses, or give each update leaves of its own"
            )
    return Updates({**first, **second})
