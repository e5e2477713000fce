"""Nodes: identity, operators, misuse, leaves, origins, weak scalars."""

import copy
import inspect
import warnings

import numpy as np
import pytest

import graphc
from graphc.graph.node import BUILDERS, here, made_at, make
from graphc.graph.op import Op


def line():
    return inspect.currentframe().f_back.f_lineno


def x32(*shape, name="x"):
    return graphc.input(name, shape)


def test_equality_builds_and_identity_hashes():
    x = x32(3)
    assert (x == x).dtype is graphc.bool_
    assert {x: 1}[x] == 1
    assert len({x, x32(3)}) == 2


@pytest.mark.parametrize(
    "use",
    [bool, float, int, len, list, np.asarray, np.exp, np.sum, "{:.3f}".format, lambda x: 1 in x, lambda x: [1, 2][x]],
)
def test_misuse_raises_with_advice(use):
    with pytest.raises(graphc.NodeUseError):
        use(x32(3))


def test_numpys_functions_name_those_of_graphc():
    with pytest.raises(graphc.NodeUseError, match=r"numpy\.exp cannot read it; use graphc\.exp"):
        np.exp(x32(3))
    with pytest.raises(graphc.NodeUseError, match=r"numpy\.arctan2 cannot read it; use graphc\.atan2"):
        np.arctan2(x32(3), 1.0)
    with pytest.raises(graphc.NodeUseError, match=r"use graphc\.stack"):
        np.stack([x32(3), x32(3)])


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda x: x + None, "expected a node, a number or an array of numbers, got a NoneType"),
        (lambda x: x * [1, [2]], r"expected rows of equal lengths, got \[1, \[2\]\]"),
        (lambda x: x * 10**400, "does not fit float32"),
        (lambda x: x / graphc.input("y", ("n",)).shape[0], r"the dimension n; graphc\.size"),
        (lambda x: x[x > 0], r"use graphc\.where"),
        (lambda x: x[np.array([True, False])], "a mask of shape"),
        (lambda x: graphc.concat(x, x), r"as in concat\(\[a, b\]\)"),
        (lambda x: (x * 2).eval({"x": np.zeros(3)}), "got the key 'x'"),
        (lambda x: graphc.cond(True, x, x), "expected two functions"),
        (lambda x: graphc.grad(x.sum(), graphc.nn.Linear(3, 1)), r"give its parameters\(\)"),
        (lambda x: graphc.native(print, ("n",), x), "expected the outputs' types"),
        (lambda x: graphc.conv2d(graphc.zeros((1, 2, 8, 8)), graphc.zeros((4, 2, 3, 3))), r"\(N, H, W, C\)"),
    ],
)
def test_wrong_operands_are_told_what_is_right(use, message):
    with pytest.raises(graphc.GraphcError, match=message):
        use(x32(3))


def test_arrays_yield_to_nodes():
    x = x32(3)
    assert (np.ones(3, "float32") * x).op.name == "multiply"
    assert (np.float32(2) - x).op.name == "subtract"
    assert (np.ones((2, 3), "float32") @ x).shape == (2,)
    assert (np.ones(3, "float32") < x).op.name == "less"
    assert (np.ones(3, bool) & (x > 0)).op.name == "logical_and"
    assert (np.ones(3, "float32") ** x).op.name == "pow"
    k = graphc.input("k", (3,), "int32")
    assert (np.arange(3, dtype="int32") << k).op.name == "bitwise_left_shift"
    assert (np.arange(3, dtype="int32") >> k).op.name == "bitwise_right_shift"
    assert (np.arange(3, dtype="int32") ^ k).op.name == "bitwise_xor"
    array = np.ones(3, "float32")
    array += x
    assert array.op.name == "add"


def test_python_scalars_are_weak():
    x, k, b = x32(2), graphc.input("k", (2,), "int32"), graphc.input("b", (2,), "bool")
    assert (x + 1.5).dtype is graphc.float32
    assert (x / np.sqrt(7.0)).dtype is graphc.float32
    assert (k + 1).dtype is graphc.int32
    assert (k + 1.5).dtype is graphc.float32
    assert (k / 2).dtype is graphc.float32
    assert (b + 1).dtype is graphc.int64
    assert (k + x).dtype is graphc.float32
    assert (graphc.input("y", (), "float64") * 0.1).dtype is graphc.float64
    assert graphc.result_type(k, 1) is graphc.int32
    assert graphc.result_type(k, x, 2.5) is graphc.float32
    assert graphc.result_type(1, 2.5) is graphc.float32
    assert graphc.result_type(graphc.int32, graphc.uint32, True) is graphc.int64
    assert graphc.result_type(np.zeros(1), k) is graphc.float64
    with pytest.raises(graphc.DTypeError, match="does not fit"):
        graphc.input("u", (2,), "uint8") + 300


def test_operators_of_bits_follow_the_dtype():
    k, b = graphc.input("k", (3,), "int32"), graphc.input("b", (3,), "bool")
    at = {k: np.array([5, -6, 0], "int32"), b: np.array([True, False, True])}
    numbers, flags = at[k], at[b]
    pairs = [
        (k & 3, numbers & 3),
        (6 | k, 6 | numbers),
        (k ^ -1, numbers ^ -1),
        (~k, ~numbers),
        (k << 2, numbers << 2),
        (1 << (k & 3), 1 << (numbers & 3)),
        (k >> 1, numbers >> 1),
        (9 >> abs(k), 9 >> abs(numbers)),
        (b & True, flags & True),
        (False | b, False | flags),
        (b ^ b, flags ^ flags),
        (~b, ~flags),
        (k & b, numbers & flags),
        *zip(divmod(k, 4), divmod(numbers, 4), strict=True),
        (k**2, numbers**2),
        (2 ** abs(k), 2 ** abs(numbers)),
        (k.clip(-1, 3), numbers.clip(-1, 3)),
    ]
    for node, wanted in pairs:
        got = node.eval(at)
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    x = x32(3)
    values = np.array([0.5, -1.5, 2.5], "float32")
    np.testing.assert_array_equal(x.round().eval({x: values}), values.round())


def test_a_float64_array_warns_once_at_its_line():
    x = x32(2)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            y = x * np.ones(2)
    assert y.dtype is graphc.float64
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert seen[0].category is graphc.GraphcWarning


def test_origin_is_the_users_line():
    x = x32(3)
    y = graphc.softmax(x)
    wanted = line() - 1
    assert (y.origin.file, y.origin.line) == (__file__, wanted)
    assert str(y.origin) == f"test_node.py:{wanted}"
    assert all(operand.origin.line == wanted for operand in y.inputs)
    with made_at(x.origin):
        assert here() == x.origin
        assert (x + 1).origin == x.origin


def test_errors_name_line_expected_got_and_operands():
    x = graphc.input("left", (3,))
    made = line() - 1
    y = graphc.parameter(np.zeros(4, "float32"), "weights")
    with pytest.raises(graphc.ShapeError) as caught:
        x + y
    text = str(caught.value)
    assert "[3] and [4]" in text
    assert f"in add at test_node.py:{line() - 3}" in text
    assert f"operand 0: float32[3] made by input 'left' at test_node.py:{made}" in text
    assert "operand 1: float32[4] made by parameter 'weights'" in text
    assert isinstance(caught.value, ValueError)
    assert text.count("operand 0") == 1


def test_parameters_are_aligned_and_set_in_place():
    p = graphc.parameter(np.arange(6.0).reshape(2, 3).T, "p")
    storage = p.value
    assert storage.flags.c_contiguous
    assert storage.ctypes.data % 64 == 0
    assert all(graphc.parameter(np.zeros(k)).value.ctypes.data % 64 == 0 for k in range(1, 40))
    assert (p.dtype, p.shape, p.name) == (graphc.float64, (3, 2), "p")
    p.set(np.ones((3, 2)))
    assert p.value is storage
    assert storage.sum() == 6
    with pytest.raises(ValueError, match="expected shape"):
        p.set(np.ones(3))
    with pytest.raises(ValueError, match="expected float64"):
        p.set(np.ones((3, 2), complex))


def test_a_parameter_is_frozen_by_its_flag_and_nothing_else_of_it_changes():
    weight = graphc.parameter(np.ones(3, "f"), "weight")
    assert weight.trainable
    weight.trainable = False
    assert not weight.trainable
    with pytest.raises(
        graphc.AssignmentError, match=r"'array' of a parameter.*weight\.set\(array\) .*\n  at test_node"
    ):
        weight.array = np.zeros(3, "f")


@pytest.mark.parametrize("make", [graphc.parameter, graphc.state])
def test_assigning_a_value_says_to_set_it(make):
    leaf = make(np.ones(3, "f"), "leaf")
    with pytest.raises(AttributeError, match=r"cannot assign to 'value'.*leaf\.set\(array\) copies an array into it"):
        leaf.value = np.zeros(3, "f")
    np.testing.assert_array_equal(leaf.value, 1)


def test_deep_copies_of_leaves_have_storage_of_their_own_and_other_nodes_are_values():
    weight = graphc.parameter(np.arange(3, dtype="f"), "weight")
    weight.trainable = False
    count = graphc.state(np.int64(4), "count")
    node = weight * 2
    new_weight, again, new_count, same = copy.deepcopy([weight, weight, count, node])
    assert new_weight is again
    assert new_weight is not weight
    assert not new_weight.trainable
    assert (new_weight.name, new_weight.type, new_count.value) == ("weight", weight.type, 4)
    assert new_weight.value.ctypes.data % 64 == 0
    weight.set(np.zeros(3))
    np.testing.assert_array_equal(new_weight.value, [0, 1, 2])
    assert same is node
    assert copy.copy(node) is node


def test_default_dtype():
    try:
        graphc.set_default_dtype("float64")
        assert graphc.constant(1.5).dtype is graphc.float64
        assert x32(2).dtype is graphc.float64
    finally:
        graphc.set_default_dtype("float32")
    assert graphc.constant([1.5, 2]).dtype is graphc.float32
    assert graphc.constant(np.ones(2)).dtype is graphc.float64
    assert graphc.constant(3).dtype is graphc.int64
    with pytest.raises(TypeError):
        graphc.constant(np.ones(2, "complex64"))
    with pytest.raises(graphc.GraphcError):
        graphc.constant(np.array([object()]))


@pytest.mark.parametrize("shape", [(-1,), (2.5,), ("not a name",), (None,), (True,)])
def test_bad_shapes(shape):
    with pytest.raises(graphc.ShapeError):
        graphc.input("x", shape)


def test_constants_of_equal_bytes_are_equal_ops():
    a, b = graphc.constant([0.0, 1.0]), graphc.constant([0.0, 1.0])
    assert a.op == b.op
    assert hash(a.op) == hash(b.op)
    assert a.op != graphc.constant([-0.0, 1.0]).op
    assert a.op != graphc.constant([0, 1]).op


def test_ops_of_equal_attributes_are_equal():
    x = x32(2, 3)
    assert x.sum(0).op == x.sum(0).op
    assert x.sum(0).op != x.sum(1).op
    assert x.max(0).op != x.sum(0).op
    assert isinstance(x.sum(0).op, Op)


def test_indexing_builds_slices_of_symbolic_size():
    x = graphc.input("x", ("n", 4))
    n = graphc.symbol("n")
    assert x[1:].shape == (n - 1, 4)
    assert x[:-2].shape == (n - 2, 4)
    assert x[::-1].shape == (n, 4)
    assert x[0].shape == (4,)
    assert x[..., None, 0].shape == (n, 1)
    assert (x[1:] - x[:-1]).shape == (n - 1, 4)
    assert [str(r) for r in x[:10].requirements] == ["n - 1 >= 9"]
    array = np.arange(28.0, dtype="float32").reshape(7, 4)
    for key in (np.s_[1:], np.s_[:-2], np.s_[::-1], np.s_[::-2, 1], np.s_[5:1:-2], np.s_[3:3], np.s_[-1], np.s_[1::3]):
        np.testing.assert_array_equal(x[key].eval({x: array}), array[key])
    with pytest.raises(graphc.CallError, match="n - 1 >= 9"):
        x[:10].eval({x: array})


def test_empty_slices_of_symbolic_axes():
    x = graphc.input("x", ("n",))
    empty = np.zeros(0, "float32")
    assert x[::-1].eval({x: empty}).shape == (0,)
    assert x[1:].eval({x: np.ones(1, "float32")}).shape == (0,)
    with pytest.raises(graphc.CallError):
        x[1:].eval({x: empty})


def test_a_symbol_never_broadcasts_as_one_but_may_be_required_equal():
    x, y = graphc.input("x", ("n", 3)), graphc.input("y", ("m", 3))
    total = x + y
    assert total.shape == (graphc.symbol("n"), 3)
    ones = np.ones((2, 3), "float32")
    assert total.eval({x: ones, y: ones}).sum() == 12
    with pytest.raises(graphc.CallError, match="m == n"):
        total.eval({x: ones, y: ones[:1]})


def test_reshape_with_a_symbol():
    x = graphc.input("x", ("n", 4))
    assert x.reshape(-1).shape == (4 * graphc.symbol("n"),)
    assert x.reshape(-1, 2).shape == (2 * graphc.symbol("n"), 2)
    grouped = x.reshape(-1, 8)
    array = np.arange(24, dtype="float32").reshape(6, 4)
    np.testing.assert_array_equal(grouped.eval({x: array}), array.reshape(-1, 8))
    with pytest.raises(graphc.CallError):
        grouped.eval({x: array[:5]})


def test_builders_are_registered_under_their_names():
    assert {"add", "sum", "getitem", "broadcast_to", "astype", "take", "evaluate"} <= BUILDERS.keys()
    assert graphc.add.__name__ == "add"


def test_make_infers():
    x = x32(2, 3)
    assert make(x.sum(0).op, x).shape == (3,)
