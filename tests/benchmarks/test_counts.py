"""The short form of the benchmarks: counts that no noise moves, against tests/golden/counts, and ceilings for them."""

import pytest

import graphc
from graphc import optim
from graphc.emit.objects import assembly
from graphc.graph.graph import Graph
from tests.benchmarks.convolutions import NETS
from tests.benchmarks.counts import LEVEL, counts, inner_loops, plan_at_level, spills, tiles
from tests.benchmarks.models.graphc import MODELS
from tests.benchmarks.rows import ROWS

# What a change may not exceed without a word: kernels that a step calls, its operations over those of its contractions.
CALLS = {"mlp_tiny": 10, "mlp": 10, "mlp_big": 10, "deep_mlp": 107, "rnn": 371, "lstm": 536, "gru": 469}
CALLS |= {"lenet": 23, "cnn": 22, "resnet20": 311, "gpt": 119}
OVERHEAD = {"mlp_tiny": 3.0, "mlp": 1.15, "mlp_big": 1.05, "deep_mlp": 1.35, "rnn": 1.1, "lstm": 1.2, "gru": 1.15}
OVERHEAD |= {"lenet": 1.3, "cnn": 1.05, "resnet20": 1.05, "gpt": 1.05}
OVER_BOUND = 1.05


def test_every_row_has_a_model_and_ceilings():
    assert list(MODELS) == list(ROWS) == list(CALLS) == list(OVERHEAD)


@pytest.mark.parametrize("row", CALLS)
def test_counts_of_a_step(row, golden):
    x, y, loss = MODELS[row]()
    updates = optim.Adam(1e-3).minimize(loss)
    found = counts(Graph((x, y), (loss,), tuple(updates.items())), ROWS[row].sizes)
    golden(f"counts/{row}.txt", "".join(f"{name}: {number}\n" for name, number in found.items()))
    assert found["calls"] <= CALLS[row]
    assert found["arena"] <= OVER_BOUND * found["lower bound"]
    assert found["operations"] <= OVERHEAD[row] * ROWS[row].flops
    assert found["spills"] == 0


LISTING = """
	vmovups	%zmm0, 64(%rsp)
.LBB0_1:
	vmovups	(%rdi), %zmm1
.LBB0_2:
	vfmadd231ps	(%rsi){1to16}, %zmm1, %zmm2
	vmovups	%zmm2, 128(%rsp)
	vmovups	192(%rsp), %zmm3
	vmovups	(%rdx), %zmm4
	jne	.LBB0_2
	vmovups	%zmm2, (%rdx)
	jne	.LBB0_1
.LBB0_3:
	vfmadd231ps	%zmm1, %zmm2, %zmm5
	vmovups	%zmm5, 64(%rsp)
	vmovups	%zmm5, (%rdx)
	jl	.LBB0_3
"""


def test_spills_are_those_of_summing_loops():
    assert [len(loop) for loop in inner_loops(LISTING)] == [6, 5]
    assert spills(LISTING) == 2


@pytest.mark.parametrize("layer", [NETS["resnet50"][n] for n in (2, 6, 8)], ids=str)
def test_tiles_beside_panels_that_are_transposed_spill_nothing(layer):
    """What a panel's copy needs in registers must not stay there while the tiles' sums do."""
    kernel = graphc.input("kernel", (layer.kernel, layer.kernel, layer.channels, layer.filters))
    x = graphc.input("x", ("batch", layer.side, layer.side, layer.channels))
    g = graphc.input("g", ("batch", layer.result, layer.result, layer.filters))
    y = graphc.conv2d(x, kernel, stride=layer.stride, padding=layer.padding)
    found = tiles(plan_at_level(Graph((kernel, g), (graphc.vjp(y, [x], g)[0],))))
    assert any("transpose_" in text for text in found.values())
    assert {name: spills(assembly(text, name, LEVEL)) for name, text in found.items()} == dict.fromkeys(found, 0)
