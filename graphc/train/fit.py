"""The training loop: shuffling, epochs, validation, progress and callbacks around native epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from graphc.compiler import Executable
from graphc.errors import CallError, GraphError
from graphc.graph.node import Node
from graphc.graph.operators import located
from graphc.ops.random import SEED
from graphc.train.history import History
from graphc.train.minibatches import Epochs, Minibatches
from graphc.train.orders import Orders

# Samples of the first epochs that run without Python between, and of later ones.
FIRST, TOGETHER = 1 << 13, 1 << 15
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
    _check(step, batch_size, epochs, initial_epoch, seed, history)
    if not isinstance(callbacks, tuple | list) or not all(callable(getattr(c, "on_epoch_end", c)) for c in callbacks):
        raise CallError(f"callbacks: expected a list of functions of (epoch, measures), got {callbacks!r}")
    train = _minibatches(step, True)
    arrays, samples = train.arrays(data, "data")
    train.check_batch_size(batch_size, samples, drop_last)
    held_out: Epochs | None = None
    if validation_data is not None:
        validate = _minibatches(step, False)
        held, held_samples = validate.arrays(validation_data, "validation_data")
        validate.check_batch_size(batch_size, held_samples, drop_last)
        held_out = validate.epochs(held, batch_size, drop_last)
        held_out.orders[0] = np.arange(held_samples)
    # What looks at every epoch comes between two of them; else many run together.
    first, most = (1, 1) if callbacks or held_out is not None else (1 + FIRST // samples, 1 + TOGETHER // samples)
    passes = train.epochs(arrays, batch_size, drop_last, 2 * most)
    orders = Orders((int(SEED.value) if seed is None else seed) if shuffle else None, samples)
    record = History() if history is None else history
    steps = samples // batch_size if drop_last and samples >= batch_size else -(-samples // batch_size)
    bar = _progress(verbose, steps * epochs)

    def advance(done: int) -> None:
        record.steps += done
        if bar is not None:
            bar.set_description(f"epoch {min(initial_epoch + (bar.n + done) // steps + 1, last)}/{last}", refresh=False)
            bar.update(done)

    def show(measures: Mapping[str, float]) -> None:
        if bar is not None:
            bar.set_postfix({name: f"{value:.4g}" for name, value in measures.items()}, refresh=False)

    epoch, last, ended = initial_epoch, initial_epoch + epochs, False
    try:
        for rows, following in pairwise(chain(_blocks(epochs, first, most), (None,))):
            assert rows is not None
            if epoch == initial_epoch:
                orders.write(epoch, passes.orders[rows])
            else:
                orders.wait()
            count = rows.stop - rows.start
            if following is not None:
                orders.write_ahead(epoch + count, passes.orders[following])
            for measures in passes.run(rows.start, count, advance):
                if held_out is not None:
                    held_measures = next(held_out.run(0, 1, _ignore))
                    measures |= {f"val_{name}": value for name, value in held_measures.items()}
                record.add(epoch, measures)
                epoch += 1
                show(measures)
                ended = any([_call(callback, epoch - 1, dict(measures)) for callback in callbacks])
            if ended:
                break
    except KeyboardInterrupt as interrupt:
        interrupt.history = record  # type: ignore[attr-defined]
        raise
    finally:
        orders.close()
        if bar is not None:
            bar.close()
    return record


def _blocks(epochs: int, first: int, most: int) -> Iterator[slice]:
    """Yield epochs that run together, as rows of an array in whose other half the next orders are written meanwhile.

    The first are few, for nothing hides the time that their orders take; then twice as many at a time.
    """
    count, start = first, 0
    while epochs > 0:
        yield slice(start, start + min(count, epochs))
        epochs, count, start = epochs - count, min(2 * count, most), most - start


def _check(step: Any, batch_size: Any, epochs: Any, initial_epoch: Any, seed: Any, history: Any) -> None:
    example = 'graphc.compile([x, y], {"loss": loss}, updates=optimizer.minimize(loss))'
    if not isinstance(step, Executable):
        what = "a node" if isinstance(step, Node) else f"a {type(step).__name__}"
        raise GraphError(f"fit trains a compiled step, got {what}; compile one: step = {example}")
    if not step.updates:
        raise GraphError(
            f"this executable updates nothing, so there is nothing to train; compile with updates: {example}"
        )
    if not isinstance(history, History | None):
        raise CallError(f"history: expected what an earlier fit returned, got a {type(history).__name__}")
    for name, value, least, most in (
        ("batch_size", batch_size, 1, ""),
        ("epochs", epochs, 0, ""),
        ("initial_epoch", initial_epoch, 0, ""),
        ("seed", 0 if seed is None else seed, 0, " and below 2**32"),
    ):
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not is_whole or value < least or (most and value >= 2**32):
            raise CallError(f"{name} must be a whole number of {least} or more{most}, got {value!r}")


def _minibatches(step: Executable, training: bool) -> Minibatches:
    kept = _compiled.setdefault(step, {})
    if training not in kept:
        kept[training] = Minibatches(step, training)
    return kept[training]


def _call(callback: Any, epoch: int, measures: dict[str, float]) -> bool:
    return getattr(callback, "on_epoch_end", callback)(epoch, measures) is True


def _ignore(done: int) -> None:
    pass


def _progress(verbose: bool, steps: int) -> Any:
    if not verbose:
        return None
    from tqdm import tqdm

    return tqdm(total=steps, unit="step", dynamic_ncols=True)
