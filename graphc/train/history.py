"""What a training run leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class History:
    """The measures of every finished epoch: `history["loss"][n]` belongs to epoch number `epoch[n]`.

    `steps` counts all steps that were committed, those of an interrupted epoch included.
    """

    history: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    epoch: list[int] = field(default_factory=list[int])
    steps: int = 0

    def add(self, epoch: int, measures: Mapping[str, float]) -> None:
        """Append the measures of one epoch."""
        self.epoch.append(epoch)
        for name, value in measures.items():
            self.history.setdefault(name, []).append(value)
