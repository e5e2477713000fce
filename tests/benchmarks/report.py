"""The results of a run: ratios, percentages of the machine's limits, and tables."""

import math
import statistics
from dataclasses import dataclass, field

from tests.benchmarks.rows import Row

COLUMNS = {
    ("graphc", "call"): "graphc call",
    ("graphc", "bind"): "graphc bind",
    ("graphc", "run"): "graphc run",
    ("torch", "eager"): "torch",
    ("torch.channels_last", "channels_last"): "torch channels last",
    ("torch.compile", "compiled"): "torch.compile",
    ("jax", "jit"): "jax jit",
    ("jax", "scan"): "jax scan",
}


@dataclass
class Result:
    """What was measured of a row: seconds a step by (peer, mode), rates of the machine, starts and memory by peer."""

    row: str
    what: Row
    times: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)
    bandwidths: list[float] = field(default_factory=list)
    starts: dict[str, list[float]] = field(default_factory=dict)
    growth: dict[str, int] = field(default_factory=dict)
    arrays: int = 0
    bound: int = 0
    footprint: int = 0

    def note_start(self, peer, cold, memory, warm):
        """Keep what the workers told when they were ready."""
        self.starts[peer] = [
            warm.ready["import"],
            *(figure for one in (cold, warm) for figure in (one.ready["first"], one.start, one.ready["work"])),
        ]
        self.growth[peer] = memory.ready["growth"]
        self.arrays = warm.ready.get("arrays", self.arrays)
        self.bound = memory.ready.get("bound", self.bound)

    def best(self, measure, ours):
        """Return the least minimum or median of graphc's ways to run, or of its peers'."""
        found = [measure(times) for (peer, _), times in self.times.items() if (peer == "graphc") == ours]
        return min(found, default=math.nan)

    def ratio(self, measure):
        """Return how many times faster graphc is than the best peer, each as it is fastest."""
        return self.best(measure, ours=False) / self.best(measure, ours=True)

    def of_peak(self):
        """Return the part of the FMA peak that the contractions alone would need."""
        return self.what.flops / self.best(min, ours=True) / max(self.peaks)

    def of_bandwidth(self):
        """Return the part of the bandwidth that it would take to touch every buffer once."""
        return self.footprint / self.best(min, ours=True) / max(self.bandwidths)


def _micro(times):
    least, middle = min(times) * 1e6, statistics.median(times) * 1e6
    digits = 1 if least < 100 else 0
    return f"{least:.{digits}f} ({middle:.{digits}f})"


def print_row(result):
    """Print a row's times and ratios, a line for each way to run it."""
    print(f"\n{result.row}: {result.what.about}")
    ours, ours_median = result.best(min, ours=True), result.best(statistics.median, ours=True)
    for key, times in result.times.items():
        ratios = f"{min(times) / ours:.2f}x, {statistics.median(times) / ours_median:.2f}x"
        print(f"  {COLUMNS[key]:19s} {_micro(times):>22s} us   {ratios} of graphc's best")
    print(
        f"  best peer / graphc {result.ratio(min):.2f}x ({result.ratio(statistics.median):.2f}x);"
        f" contractions at {result.of_peak():.0%} of {max(result.peaks) / 1e9:.0f} GFLOP/s;"
        f" {result.of_bandwidth():.0%} of {max(result.bandwidths) / 1e9:.0f} GB/s on {result.footprint / 1e6:.1f} MB",
        flush=True,
    )


def _table(heads, rows):
    print("\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def print_tables(results, options):
    """Print the geometric mean, the starts and the memory; as Markdown, with the times, under `--table`."""
    compared = [one for one in results if not math.isnan(one.ratio(min))]
    if compared:
        least, middle = (
            math.exp(statistics.fmean(math.log(one.ratio(measure)) for one in compared))
            for measure in (min, statistics.median)
        )
        print(f"\ngeometric mean of best peer / graphc: {least:.2f}x by minima, {middle:.2f}x by medians")
    if options.table:
        used = [key for key in COLUMNS if any(key in one.times for one in results)]
        heads = ["row", *(COLUMNS[key] for key in used), "best peer / graphc", "of FMA peak", "of bandwidth"]
        _table(heads, [_times(one, used) for one in results])
    if options.steps_only:
        return
    columns = ("first step", "`python` to result", "processor time")
    heads = ["row", "who", "import, s", *(f"{column}, {state}" for state in ("cold", "cached") for column in columns)]
    rows = [
        [f"`{one.row}`", peer, *(f"{seconds:.2f}" for seconds in seconds)]
        for one in results
        for peer, seconds in one.starts.items()
    ]
    _table(heads, rows)
    peers = list(dict.fromkeys(peer for one in results for peer in one.growth))
    heads = ["memory of a step, MB", "graphc's arrays", "graphc, known at binding", *peers]
    rows = [[one.row, one.arrays, one.bound, *(one.growth.get(peer, math.nan) for peer in peers)] for one in results]
    _table(heads, [[f"`{row}`", *(f"{nbytes / 1e6:.2f}" for nbytes in figures)] for row, *figures in rows])


def _times(result, used):
    cells = [_micro(result.times[key]) if key in result.times else "-" for key in used]
    ratio = f"{result.ratio(min):.2f}x ({result.ratio(statistics.median):.2f}x)"
    return [f"`{result.row}`", *cells, ratio, f"{result.of_peak():.0%}", f"{result.of_bandwidth():.0%}"]
