import sys
import types

import numpy as np
import pytest

from tests.benchmarks import calls, elements, kernels
from tests.benchmarks.machine import Machine
from tests.benchmarks.peer import MACHINE, PEERS, Unavailable, Worker
from tests.benchmarks.report import Result, print_row, print_tables
from tests.benchmarks.rows import ROWS, convolutional, dense_flops


def test_machine_reaches_plausible_rates():
    machine = Machine("", 1)
    assert 1e8 < machine.flops("f32") < 1e13
    assert 1e8 < machine.flops("f64") < 1e13
    assert 1e8 < machine.bandwidth(100_000) < 1e13


def test_worker_answers_until_it_is_closed(tmp_path):
    worker = Worker(("tests.benchmarks.products", "Numpy", 0.0), "", 1, tmp_path)
    assert worker.ready["import"] < worker.start
    assert 0 < worker.ask(ask="seconds", product="left", m=3, n=4, k=5, dtype="float64", block=1e-4) < 1
    worker.close()
    assert worker.process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_training_step_is_known_at_binding(tmp_path):
    worker = Worker(PEERS["graphc"], "mlp", 2, tmp_path, "memory")
    worker.close()
    grown = worker.ready["growth"]
    assert grown > 4 * 4 * (785 * 256 + 257 * 128 + 129 * 10)  # parameters, gradients, two moments
    assert abs(worker.ready["bound"] - grown) <= 0.05 * grown


def test_what_is_missing_or_ends_is_told(tmp_path):
    with pytest.raises(Unavailable, match="No module named"):
        Worker(("tests.benchmarks.models.nothing", "Steps", 0.0), "mlp", 1, tmp_path)
    worker = Worker(("tests.benchmarks.products", "Numpy", 0.0), "", 1, tmp_path)
    with pytest.raises(Unavailable, match="no_such_question"):
        worker.ask(ask="no_such_question")


def test_ratios_are_of_the_fastest_ways(capsys):
    result = Result("mlp", ROWS["mlp"], peaks=[1e11, 2e11], bandwidths=[1e10], footprint=10**6)
    result.times = {
        ("graphc", "call"): [3e-3, 2e-3, 2e-3],
        ("graphc", "run"): [1e-3, 2e-3, 3e-3],
        ("torch", "eager"): [4e-3, 5e-3, 9e-3],
        ("jax", "scan"): [3e-3, 7e-3, 8e-3],
    }
    worker = types.SimpleNamespace(
        ready={"import": 1.0, "first": 2.0, "growth": 3_000_000, "arrays": 10**6, "bound": 2 * 10**6, "work": 5.0},
        start=4.0,
    )
    result.note_start("graphc", worker, worker, worker)
    print_row(result)
    print_tables([result], types.SimpleNamespace(table=True, steps_only=False))
    said = capsys.readouterr().out
    assert "best peer / graphc 3.00x (2.50x)" in said
    assert "64% of 200 GFLOP/s" in said  # 129 million operations in 1 ms
    assert "| `mlp` | 2000 (2000) | 1000 (2000) | 4000 (5000) | 3000 (7000) | 3.00x (2.50x) | 64% | 10% |" in said
    assert "| `mlp` | 1.00 | 2.00 | 3.00 |" in said


def test_arithmetic_of_a_step_is_counted():
    # Two layers: both forward, both weights' gradients, and the second layer's input gradient.
    assert dense_flops(7, (2, 3, 5)) == 2 * 7 * (2 * 3 + 3 * 5) + 2 * 7 * (2 * 3 + 3 * 5) + 2 * 7 * 3 * 5
    # A convolution of 28 x 28 results by 9 taps and a second one, and a layer of 3 units, for 64 images.
    flops = convolutional("", "cnn", [(28, 3, 1, 5), (14, 3, 5, 2)], (7, 3)).flops
    first, second, last = 28**2 * 9 * 5, 14**2 * 9 * 5 * 2, 7 * 3
    assert flops == 2 * 64 * (2 * first + 3 * second + 3 * last)


def test_kernels_without_peers_are_measured(capsys, monkeypatch):
    monkeypatch.setattr(elements, "FRAMEWORKS", {"graphc": ("Graphc", 0.0), "other": ("Nothing", 0.0)})
    monkeypatch.setattr("sys.argv", ["elements", "--kernels", "exp", "--rounds", "1", "--block", "1e-4"])
    elements.main()
    said = capsys.readouterr().out
    assert "other is left out" in said
    assert "| `exp` | " in said
    assert MACHINE[1] == "Machine"


def test_calls_and_fits_are_measured(capsys, monkeypatch):
    monkeypatch.setattr(calls, "FITS", {"mlp_tiny": ((100, 3),)})
    monkeypatch.setattr(calls, "BLOCK", 10)
    monkeypatch.setattr("sys.argv", ["calls", "--rounds", "1", "--threads", "1"])
    calls.main()
    said = capsys.readouterr().out
    assert "| graphc bind | " in said
    assert "| step, call | " in said
    assert "| `mlp_tiny` | 100 | 3 | " in said


def test_ways_that_disagree_are_not_compared():
    with pytest.raises(AssertionError, match="Mismatched elements"):
        calls.checked({"one": lambda: np.ones(2), "other": lambda: np.zeros(2)})


def test_kernels_of_a_step_are_timed(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["kernels", "rnn", "--rounds", "1"])
    kernels.main()
    said = capsys.readouterr().out
    assert "Repeat of" in said
    assert "[contract" in said
    assert "all" in said.splitlines()[-1]
