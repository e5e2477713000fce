"""In which order a product of several arrays is contracted, two at a time.

A pairwise step costs what numpy.einsum_path counts: the product of the sizes of all letters in it, twice if it sums. The
order is the best one, by dynamic programming over subsets, for up to `EXACT` operands, and found greedily for more.
Symbols count as `NOMINAL`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from graphc import dims
from graphc.dims import Dim

EXACT = 8
NOMINAL = 1000

Letters = frozenset[str]
Path = list[tuple[int, int]]


def nominal(size: Dim) -> int:
    """Return a size as a number: a symbol counts as 1000."""
    return dims.evaluate(size, dict.fromkeys(dims.symbols(size), NOMINAL))


def pairwise_order(terms: Sequence[Letters], result: Letters, sizes: Mapping[str, Dim]) -> tuple[Path, int]:
    """Return which two operands to contract, step by step, and what all steps cost.

    The result of each step takes the next free number: of three operands, [(1, 2), (0, 3)] contracts the last two first.
    """
    numbers = {letter: max(nominal(size), 1) for letter, size in sizes.items()}
    return _best(terms, result, numbers) if len(terms) <= EXACT else _greedy(terms, result, numbers)


def _cost(used: Letters, kept: Letters, sizes: Mapping[str, int]) -> int:
    return math.prod(sizes[letter] for letter in used) * (1 if used == kept else 2)


def _best(terms: Sequence[Letters], result: Letters, sizes: Mapping[str, int]) -> tuple[Path, int]:
    count = len(terms)
    everything = (1 << count) - 1
    inside = [frozenset[str]()]
    for subset in range(1, everything + 1):
        lowest = (subset & -subset).bit_length() - 1
        inside.append(inside[subset & (subset - 1)] | terms[lowest])
    kept = [inside[subset] & (result | inside[everything ^ subset]) for subset in range(everything + 1)]
    # For each subset: its least cost, and the part that is contracted apart from the rest.
    cost = {1 << k: 0 for k in range(count)}
    part: dict[int, int] = {}
    for subset in sorted(range(1, everything + 1), key=int.bit_count):
        left = (subset - 1) & subset
        while left:
            right = subset ^ left
            if left > right:  # each split once
                total = cost[left] + cost[right] + _cost(kept[left] | kept[right], kept[subset], sizes)
                if subset not in cost or total < cost[subset]:
                    cost[subset], part[subset] = total, left
            left = (left - 1) & subset
    path: Path = []

    def contract(subset: int) -> int:
        if subset not in part:
            return subset.bit_length() - 1
        first, second = contract(part[subset]), contract(subset ^ part[subset])
        path.append((min(first, second), max(first, second)))
        return count + len(path) - 1

    contract(everything)
    return path, cost[everything]


def _greedy(terms: Sequence[Letters], result: Letters, sizes: Mapping[str, int]) -> tuple[Path, int]:
    """Contract, each time, the pair whose result grows least over its operands; the cheaper of equals."""
    alive = dict(enumerate(terms))
    path: Path = []
    total = 0

    def size(letters: Letters) -> int:
        return math.prod(sizes[letter] for letter in letters)

    while len(alive) > 1:
        occurs = {letter: sum(letter in term for term in alive.values()) for term in alive.values() for letter in term}

        def step(
            pair: tuple[int, int], alive: dict[int, Letters] = alive, occurs: dict[str, int] = occurs
        ) -> tuple[int, int, Letters]:
            first, second = alive[pair[0]], alive[pair[1]]
            kept = frozenset(
                letter
                for letter in first | second
                if letter in result or occurs[letter] > (letter in first) + (letter in second)
            )
            return size(kept) - size(first) - size(second), _cost(first | second, kept, sizes), kept

        best = min(combinations(alive, 2), key=lambda pair: step(pair)[:2])
        _, cost, kept = step(best)
        del alive[best[0]], alive[best[1]]
        alive[len(terms) + len(path)] = kept
        path.append(best)
        total += cost
    return path, total
