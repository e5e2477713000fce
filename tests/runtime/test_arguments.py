import numpy as np
import pytest

from graphc import dims, dtypes
from graphc.errors import CallError, DTypeError, MissingInputError, PlanMemoryError
from graphc.requirements import Requirement
from graphc.runtime.arguments import InputSpec, address_of, solve
from tests.runtime.handmade import Maker, N

X = np.arange(4, dtype=np.float32)


def doubler(**options):
    m = Maker()
    m.buffer("x", "input"), m.buffer("y", "output")
    return m.executable(m.call("double", "x", "y"), **options)


def adder():
    """out = b + 2 * a, and w -= a."""
    m = Maker()
    m.buffer("a", "input"), m.buffer("b", "input"), m.buffer("out", "output"), m.buffer("t", "temporary")
    m.buffer("w", "leaf", (4,))
    weight = np.zeros(4, np.float32)
    steps = [m.call("double", "a", "out"), m.call("add_to", "b", "out"), m.call("subtract_from", "a", "w", commit=True)]
    return m.executable(*steps, leaves=[weight]), weight


@pytest.mark.parametrize(
    "value",
    [
        X,
        X.astype(np.float64),
        X.astype(np.int64),
        X.astype(bool),
        X.astype(np.float16),
        X.astype(">f4"),
        [0, 1, 2, 3],
        (0.0, 1.0, 2.0, 3.0),
        np.repeat(X, 2)[::2],
        X[::-1],
        np.stack([X, X], 1)[:, 0],
        X[:0],
        [],
        np.frombuffer(X.tobytes(), np.float32),
        np.frombuffer(b"\0" + X.tobytes(), np.float32, offset=1),
        np.ma.masked_array(X),
        memoryview(X),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)
def test_what_just_works(value):
    np.testing.assert_array_equal(doubler()(value), np.asarray(value, np.float32) * 2)


def test_data_frames_work_through_array():
    class Frame:
        def __array__(self, dtype=None, copy=None):
            return X.astype(np.float64)

    np.testing.assert_array_equal(doubler()(Frame()), X * 2)


def test_no_copy_where_none_is_needed():
    m = Maker()
    m.buffer("x", "input", (1,)), m.buffer("y", "output", (1,))
    run = m.executable(
        m.call("add_to", "y", "x", 1)
    )  # a kernel that writes its input shows that it has the array itself
    x = np.zeros(1, np.float32)
    out = np.full(1, 3, np.float32)
    run(x, out=out)
    assert x[0] == 3


@pytest.mark.parametrize(
    ("arguments", "named", "error", "message"),
    [
        (
            (),
            {},
            MissingInputError,
            r"missing input 'a', 'b'; expected 2 inputs \(a: float32 \(n,\); b: float32 \(n,\)\)",
        ),
        ((X,), {}, MissingInputError, "missing input 'b'"),
        ((X, X, X), {}, MissingInputError, "got 3 arguments, expected 2 inputs"),
        ((X,), {"c": X}, MissingInputError, "'c' is not an input"),
        ((X,), {"a": X}, MissingInputError, "'a' is given twice"),
        (({"a": X},), {}, MissingInputError, "missing input 'b'"),
        (({"a": X, "z": X},), {}, MissingInputError, "'z' is not an input"),
        ((X, np.zeros((4, 1))), {}, CallError, r"'b': expected shape \(n,\) with 1 dimensions, got \(4, 1\) with 2"),
        ((X, 3.0), {}, CallError, r"expected shape \(n,\) .* for a single example pass array\[None\]"),
        ((X, X[:3]), {}, CallError, r"'b': .* axis 0 is 3, but n = 4 by axis 0 of 'a'"),
        ((X, np.array([1, "a"], object)), {}, DTypeError, r"got an array of dtype object; .* pass array\.astype"),
        ((X, [[1], [1, 2]]), {}, CallError, "'b': a list is no array"),
        ((X, X * 1j), {}, DTypeError, "got an array of dtype complex64"),
        ((X, ["a"] * 4), {}, DTypeError, "got an array of dtype <U1"),
        ((X, None), {}, DTypeError, "'b': expected float32, got None"),
    ],
)
def test_wrong_inputs(arguments, named, error, message):
    run, weight = adder()
    with pytest.raises(error, match=message):
        run(*arguments, **named)
    assert (weight == 0).all()
    np.testing.assert_array_equal(run(X, X), 3 * X)


def integer_input(dtype):
    m = Maker()
    m.buffer("i", "input", (N,), dtype), m.buffer("y", "output", ())
    return m.executable(m.call("check", "i", "y", units=1), outputs=0)


def test_integers_are_checked_for_range():
    from graphc.runtime.arguments import convert

    small = InputSpec("i", dtypes.int32, (N,))
    assert convert(np.array([1, -5]), small).dtype == np.int32
    with pytest.raises(CallError, match="the value 2147483648 does not fit int32"):
        convert(np.array([1, 2**31]), small)
    with pytest.raises(CallError, match="the value -1 does not fit uint8"):
        convert([3, -1], InputSpec("i", dtypes.uint8, (N,)))
    with pytest.raises(DTypeError, match=r"expected int32, got float64, .* pass array.astype\('int32'\)"):
        convert([1.5], small)
    with pytest.raises(DTypeError, match=r"expected bool, got int64, .* pass array != 0"):
        convert([1], InputSpec("m", dtypes.bool_, (N,)))


def test_named_and_dict_arguments():
    run, _ = adder()
    np.testing.assert_array_equal(run(b=X, a=X * 10), 21 * X)
    np.testing.assert_array_equal(run({"b": X, "a": X * 10}), 21 * X)


def test_keys_of_a_dict_are_compared_by_identity():
    class Key:
        def __eq__(self, other):
            raise AssertionError("keys are graph nodes: == builds a node")

        __hash__ = object.__hash__

    m = Maker()
    m.buffer("x", "input"), m.buffer("y", "output")
    from graphc.runtime import Executable
    from tests.runtime.handmade import objects

    key = Key()
    run = Executable(m.plan(m.call("double", "x", "y")), [], objects, [("x", dtypes.float32, (N,))], 0, 1, [key])
    np.testing.assert_array_equal(run({key: X}), X * 2)
    with pytest.raises(MissingInputError, match="is not an input"):
        run({Key(): X})


def test_results_have_the_structure_that_was_compiled():
    def run_with(structure):
        m = Maker()
        m.buffer("x", "input"), m.buffer("y", "output"), m.buffer("s", "output", ())
        return m.executable(m.call("double", "x", "y"), m.call("double", "x", "s", 1), outputs=structure)(X + 1)

    result = run_with({"a": (0,), "b": [1, 0]})
    assert set(result) == {"a", "b"}
    assert isinstance(result["a"], tuple)
    np.testing.assert_array_equal(result["a"][0], 2 * X + 2)
    assert isinstance(result["b"][0], np.float32)
    assert result["b"][0] == 2
    assert run_with(()) == ()


def test_out_is_written_and_returned():
    run, _ = adder()
    out = np.zeros(4, np.float32)
    assert run(X, X, out=out) is out
    np.testing.assert_array_equal(out, 3 * X)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros(4), r"output 0 is float32 \(4,\), got float64 \(4,\)"),
        (np.zeros(3, np.float32), r"output 0 is float32 \(4,\), got float32 \(3,\)"),
        (np.zeros(8, np.float32)[::2], "must be C-contiguous"),
        (np.frombuffer(X.tobytes(), np.float32), "must be C-contiguous, aligned and writeable"),
        ([1, 2], "expected an array for output 0, got a list"),
        (X, "shares memory with input 'a'"),
    ],
)
def test_wrong_out(out, message):
    run, weight = adder()
    with pytest.raises(CallError, match=message):
        run(X, X * 1, out=out)
    assert (weight == 0).all()


def test_out_must_not_be_a_parameter():
    run, weight = adder()
    with pytest.raises(CallError, match="shares memory with a parameter or state"):
        run(X, X, out=weight)


def test_a_parameter_given_as_input_is_read_as_it_was():
    run, weight = adder()
    weight[:] = X
    np.testing.assert_array_equal(run(weight, weight), 3 * X)
    assert (weight == 0).all()
    with pytest.raises(CallError, match="shares memory with a parameter that the call updates"):
        run.bind(weight, X)


def test_bind_reads_what_its_arrays_hold():
    run, weight = adder()
    a, b = X.copy(), X.copy()
    bound = run.bind(a, b=b)
    np.testing.assert_array_equal(bound(), 3 * X)
    a += 1
    assert bound() is bound.results
    np.testing.assert_array_equal(bound.results, 3 * X + 2)
    np.testing.assert_array_equal(weight, -2 * X - 1)
    with pytest.raises(CallError, match="bind: input 'a' must be a C-contiguous array of float32, got float64"):
        run.bind(X.astype(float), X)
    with pytest.raises(CallError, match=r"a C-contiguous array of float32, got strides \(8,\)"):
        run.bind(np.zeros(8, "float32")[::2], X)
    shifted = np.zeros(17, "uint8")[1:].view("float32")
    with pytest.raises(CallError, match="a C-contiguous array of float32, got one whose elements are not aligned"):
        run.bind(shifted, X)


def test_rebind_runs_on_other_storage():
    run, weight = adder()
    other = np.ones(4, np.float32)
    run.rebind([other])(X, X)
    np.testing.assert_array_equal(other, 1 - X)
    assert (weight == 0).all()
    with pytest.raises(
        CallError, match=r"w: expected a writeable C-contiguous array of float32 \(4,\), got float32 \(3,\)"
    ):
        run.rebind([other[:3]])
    with pytest.raises(CallError, match="expected 1 arrays of parameters and states, got 0"):
        run.rebind([])


def test_requirements_are_checked_before_anything_runs():
    need = Requirement(N, ">=", 10, "a window of 10", "model.py:3")
    run = doubler(requirements=(need,))
    with pytest.raises(CallError, match=r"a window of 10 needs n >= 10 \(model.py:3\); here n = 4"):
        run(X)
    run(np.zeros(10))


def test_sizes_are_solved_from_expressions():
    t = dims.symbol("t")
    specs = [InputSpec("p", dtypes.float32, (2 * t + 1,)), InputSpec("q", dtypes.float32, (t * N, N))]
    assert solve(specs, [(7,), (6, 2)]) == {"t": 3, "n": 2}
    with pytest.raises(CallError, match=r"axis 0 has size 8, which no size of 2 \* t \+ 1 gives"):
        solve(specs[:1], [(8,)])
    with pytest.raises(CallError, match=r"axis 0 is 5, but n = 2 by axis 1 of 'q' and t = 3 by axis 0 of 'p' make"):
        solve(specs, [(7,), (5, 2)])
    assert solve([InputSpec("p", dtypes.float32, (0,))], [(0,)]) == {}
    with pytest.raises(CallError, match=r"expected shape \(3,\), got \(4,\): axis 0 is 4, expected 3"):
        solve([InputSpec("p", dtypes.float32, (3,))], [(4,)])


def test_a_size_that_no_input_tells_is_refused_when_compiling():
    m = Maker()
    m.buffer("x", "input", (3,)), m.buffer("y", "output")
    with pytest.raises(CallError, match="no input tells the size 'n'"):
        m.executable(m.call("double", "x", "y"))


def test_too_little_memory():
    m = Maker()
    m.buffer("x", "input"), m.buffer("t", "temporary", (N * 10**12,)), m.buffer("y", "output")
    run = m.executable(m.call("double", "x", "t"), m.call("double", "t", "y"))
    with pytest.raises(PlanMemoryError, match=r"this call needs .* MiB for temporaries"):
        run(X)


def test_addresses_are_read_right():
    for array in (X, X[2:], np.zeros((0, 3)), np.float32(1)[...], np.zeros(3)[::-1]):
        assert address_of(array) == array.ctypes.data


def test_many_shapes_are_remembered_and_the_oldest_forgotten():
    run = doubler()
    for n in [*range(100), 5, 99]:
        np.testing.assert_array_equal(run(np.ones(n)), np.full(n, 2))
    assert len(run._caller.bounds) == 64
