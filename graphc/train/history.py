"""What a training run leaves behind."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.records import structure


@structure
class History:
    """The measures of every finished epoch: `history["loss"][n]` belongs to epoch number `epoch[n]`.

    `steps` counts all steps that were committed, those of an interrupted epoch included.
    """

    history: dict[str, list[float]]
    epoch: list[int]
    steps: int

    def __init__(
        self, history: dict[str, list[float]] | None = None, epoch: list[int] | None = None, steps: int = 0
    ) -> None:
        self.history = {} if history is None else history
        self.epoch = [] if epoch is None else epoch
        self.steps = steps

    def __eq__(self, other: object) -> bool:
        mine = self.history, self.epoch, self.steps
        return isinstance(other, History) and mine == (other.history, other.epoch, other.steps)

    __hash__ = None  # pyright: ignore

    def add(self, epoch: int, measures: Mapping[str, float]) -> None:
        """Append the measures of one epoch."""
        self.epoch.append(epoch)
        for name, value in measures.items():
            self.history.setdefault(name, []).append(value)
