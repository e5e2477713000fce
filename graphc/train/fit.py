"""The training loop: shuffling, epochs, validation, progress and callbacks around native epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from graphc.compiler import Executable
from graphc.errors import CallError, GraphError
from graphc.graph.node import Node
from graphc.graph.operators import located
from graphc.ops.random import SEED
from graphc.train.history import History
from graphc.train.minibatches import Minibatches

Callback = Callable[[int, dict[str, float]], Any]

_compiled: WeakKeyDictionary[Executable, dict[bool, Minibatches]] = WeakKeyDictionary()


@located("fit")
def fit(
    step: Executable,
    data: Mapping[Any, Any],
    *,
    batch_size: int = 32,
    epochs: int = 1,
    shuffle: bool = True,
    drop_last: bool = False,
    validation_data: Mapping[Any, Any] | None = None,
    verbose: bool = True,
    callbacks: Sequence[Callback | Any] = (),
    seed: int | None = None,
    initial_epoch: int = 0,
    history: History | None = None,
) -> History:
    """Train: run the step over all minibatches of `data`, `epochs` times.

    `data` maps each input (or its name) to an array with one sample a row; inputs without axes take a scalar. The
    order of the samples depends on the seed (that of `graphc.seed` unless given) and the epoch only. `callbacks` are
    called after every epoch as `callback(epoch, measures)`, or have a method `on_epoch_end` of these arguments; one
    that returns True ends the run. `history` continues an earlier one.

    Returns the history: the mean of every scalar output over each epoch, for `validation_data` with the prefix "val_".
    Ctrl-C raises KeyboardInterrupt at a whole number of steps, within one step and 50 ms; its attribute `history` holds
    what was done.
    """
    _check(step, batch_size, epochs, initial_epoch)
    if not isinstance(callbacks, tuple | list) or not all(callable(getattr(c, "on_epoch_end", c)) for c in callbacks):
        raise CallError(f"callbacks: expected a list of functions of (epoch, measures), got {callbacks!r}")
    train = _minibatches(step, True)
    arrays, samples = train.arrays(data, "data")
    train.check_batch_size(batch_size, samples, drop_last)
    epoch_of_training = train.epoch(arrays, batch_size, drop_last)
    epoch_of_validation = None
    if validation_data is not None:
        validate = _minibatches(step, False)
        held_out, held_samples = validate.arrays(validation_data, "validation_data")
        validate.check_batch_size(batch_size, held_samples, drop_last)
        epoch_of_validation = validate.epoch(held_out, batch_size, drop_last)
    key = int(SEED.value) if seed is None else seed
    record = History() if history is None else history
    steps = samples // batch_size if drop_last and samples >= batch_size else -(-samples // batch_size)
    bar = _progress(verbose, steps * epochs)

    def advance(done: int) -> None:
        record.steps += done
        bar.update(done)

    shuffled = _Shuffle(key, samples)
    try:
        for epoch in range(initial_epoch, initial_epoch + epochs):
            bar.set_description(f"epoch {epoch + 1}/{initial_epoch + epochs}", refresh=False)
            if shuffle:
                shuffled.write(epoch, epoch_of_training.order)
            measures = epoch_of_training.run(advance)
            if epoch_of_validation is not None:
                held = epoch_of_validation.run(_ignore)
                measures |= {f"val_{name}": value for name, value in held.items()}
            record.add(epoch, measures)
            bar.set_postfix({name: f"{value:.4g}" for name, value in measures.items()}, refresh=False)
            if any([_call(callback, epoch, dict(measures)) for callback in callbacks]):
                break
    except KeyboardInterrupt as interrupt:
        interrupt.history = record  # type: ignore[attr-defined]
        raise
    finally:
        bar.close()
    return record


def _check(step: Any, batch_size: Any, epochs: Any, initial_epoch: Any) -> None:
    example = 'graphc.compile([x, y], {"loss": loss}, updates=optimizer.minimize(loss))'
    if not isinstance(step, Executable):
        what = "a node" if isinstance(step, Node) else f"a {type(step).__name__}"
        raise GraphError(f"fit trains a compiled step, got {what}; compile one: step = {example}")
    if not step.updates:
        raise GraphError(
            f"this executable updates nothing, so there is nothing to train; compile with updates: {example}"
        )
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("epochs", epochs, 0),
        ("initial_epoch", initial_epoch, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise CallError(f"{name} must be a whole number of {least} or more, got {value!r}")


def _minibatches(step: Executable, training: bool) -> Minibatches:
    kept = _compiled.setdefault(step, {})
    if training not in kept:
        kept[training] = Minibatches(step, training)
    return kept[training]


def _call(callback: Any, epoch: int, measures: dict[str, float]) -> bool:
    return getattr(callback, "on_epoch_end", callback)(epoch, measures) is True


def _ignore(done: int) -> None:
    pass


class _Shuffle:
    """The order of samples in each epoch: that of `Generator(Philox(key=[key, epoch])).shuffle`.

    One generator is set anew for each epoch, for making one takes as long as shuffling a thousand samples.
    """

    def __init__(self, key: int, samples: int) -> None:
        self._straight = np.arange(samples)
        self._source = np.random.Philox(key=[key, 0])
        self._state: Any = self._source.state
        self._generator = np.random.Generator(self._source)

    def write(self, epoch: int, order: np.ndarray[Any, Any]) -> None:
        """Write an epoch's order into an array."""
        self._state["state"]["key"][1] = epoch
        self._source.state = self._state
        order[:] = self._straight
        self._generator.shuffle(order)


class _Silent:
    """A progress line that shows nothing."""

    def update(self, done: int) -> None:
        """Ignore."""

    def set_description(self, text: str, refresh: bool = True) -> None:
        """Ignore."""

    def set_postfix(self, measures: Mapping[str, str], refresh: bool = True) -> None:
        """Ignore."""

    def close(self) -> None:
        """Ignore."""


def _progress(verbose: bool, steps: int) -> Any:
    if not verbose:
        return _Silent()
    from tqdm import tqdm

    return tqdm(total=steps, unit="step", dynamic_ncols=True)
