"""A sum has the same bits whether its operand is an array, is stored for others, or is made while it is summed."""

import itertools

import numpy as np
import pytest

import graphc

SHAPES = [(3, 5, 7), (2, 3, 64), (4, 9, 20), (6, 1, 5), (5, 40, 3), (1, 2, 130), (2, 33, 17)]
AXES = [axes for count in (1, 2, 3) for axes in itertools.combinations(range(3), count)]

# What is summed, of an array of the shape, one number for each row, one for each column, and one of the shape turned around.
OPERANDS = {
    "plain": lambda x, row, column, turned: x,
    "product": lambda x, row, column, turned: x * graphc.sin(x),
    "costly": lambda x, row, column, turned: graphc.exp(x),
    "repeated along columns": lambda x, row, column, turned: x * row,
    "repeated along rows": lambda x, row, column, turned: x * column + row,
    "turned": lambda x, row, column, turned: graphc.permute_dims(turned, (2, 0, 1)) * x,
    "turned alone": lambda x, row, column, turned: graphc.exp(graphc.permute_dims(turned, (2, 0, 1))),
    "part": lambda x, row, column, turned: graphc.concat([x, x], 1)[:, 1 : 1 + x.shape[1]],
    "reshaped": lambda x, row, column, turned: graphc.reshape(graphc.reshape(x, (-1,)) * 3.0, x.shape),
}


def programs(shape, sizes, dtype):
    """For each operand: the nodes of its sums and of itself."""
    x = graphc.input("x", shape, dtype)
    row, column = graphc.input("row", (*shape[:2], 1), dtype), graphc.input("column", (1, 1, shape[2]), dtype)
    turned = graphc.input("turned", (shape[1], shape[2], shape[0]), dtype)
    made = {name: make(x, row, column, turned) for name, make in OPERANDS.items()}
    generator = np.random.default_rng(sum(sizes))
    fed = [generator.normal(size=s) for s in (sizes, (*sizes[:2], 1), (1, 1, sizes[2]), (*sizes[1:], sizes[0]))]
    return [x, row, column, turned], made, [array.astype(dtype) for array in fed]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("is_known", [True, False])
def test_sums_do_not_depend_on_how_their_operand_is_stored(is_known, dtype):
    # Sizes that are symbols serve all shapes; of known ones some, for each is a compilation.
    shapes = SHAPES[:: 2 if dtype == "float32" else 3] if is_known else [("a", "b", "c")]
    for shape in shapes:
        inputs, made, _ = programs(shape, SHAPES[0], dtype)
        whole = graphc.input("whole", shape, dtype)
        of_array = graphc.compile([whole], [whole.sum(axes) for axes in AXES])
        # All in one program: operands are made where they are summed, by kernels that fuse; or each is an output, too.
        alone = graphc.compile(inputs, [y.sum(axes) for y in made.values() for axes in AXES])
        apart = [graphc.compile(inputs, [y.sum(AXES[n % 7])]) for n, y in enumerate(made.values())]
        stored = graphc.compile(inputs, [*made.values(), *(y.sum(axes) for y in made.values() for axes in AXES)])
        for sizes in [shape] if is_known else SHAPES:
            _, _, fed = programs(shape, sizes, dtype)
            arrays, sums = (part := stored(*fed))[: len(made)], part[len(made) :]
            expected = [one for array in arrays for one in of_array(array)]
            names = [(name, axes) for name in made for axes in AXES]
            for name, one, inlined, kept in zip(names, expected, alone(*fed), sums, strict=True):
                np.testing.assert_array_equal(inlined, one, f"{name}, {sizes}, made while it is summed")
                np.testing.assert_array_equal(kept, one, f"{name}, {sizes}, stored for others")
            for n, (name, step) in enumerate(zip(made, apart, strict=True)):
                np.testing.assert_array_equal(
                    step(*fed)[0], expected[7 * n + n % 7], f"{name}, {sizes}, in a kernel of its own"
                )


@pytest.mark.parametrize("size", [5, 8, 24, 64, 100, 1000])
def test_sums_of_doubles_have_the_bits_that_they_have_without_singles(size):
    single, double = graphc.input("single", ("n", size)), graphc.input("double", ("n", size), "float64")

    def sums(x):
        centred = x - x.mean(axis=1, keepdims=True)
        return [
            x.sum(axis=1),
            (x * x).sum(axis=1),
            graphc.exp(x).sum(axis=1),
            (centred * centred).sum(axis=1),
            (x * x).sum(),
        ]

    fed = np.random.default_rng(size).normal(size=(9, size)).astype("float32")
    alone = graphc.compile([double], sums(double))(fed.astype("float64"))
    # The cast is made where the sum is; or what is summed is of doubles, and something of singles is made beside it.
    cast = graphc.compile([single], sums(graphc.astype(single, "float64")))(fed)
    beside = graphc.compile(
        [single, double], [*sums(double), graphc.astype(double, "float32") * single, single.sum(axis=1)]
    )
    for one, made, shared in zip(alone, cast, beside(fed, fed.astype("float64")), strict=False):
        np.testing.assert_array_equal(made, one)
        np.testing.assert_array_equal(shared, one)


@pytest.mark.parametrize("size", [3, 9, 12, 16])
def test_products_of_doubles_have_the_bits_of_an_unknown_size(size):
    """Few elements of a row that is known stand side by side on the lanes; of an unknown one they run along them."""
    generator = np.random.default_rng(size)
    fed = [generator.normal(size=shape) for shape in ((37, size), (37, size), (size,))]
    bits = []
    for extent in (size, "k"):
        x, y = (graphc.input(name, ("n", extent), "float64") for name in "xy")
        v = graphc.input("v", (extent,), "float64")
        outputs = [graphc.einsum("nk,nk->n", x, y), x @ v, (x * y).sum(axis=1)]
        bits.append([run(*fed) for run in (graphc.compile([x, y, v], [one]) for one in outputs)])
    for (known,), (unknown,) in zip(*bits, strict=True):
        np.testing.assert_array_equal(known, unknown)
