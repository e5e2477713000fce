import ctypes

import numpy as np
import pytest

from graphc.simd import twin

KINDS = {"f32": "f4", "f64": "f8", "i32": "i4", "i64": "i8", "u32": "u4", "u8": "u1", "b": "?"}


def test_masked_access_never_touches_inactive_lanes(kernels, level, guard_page):
    """Both ends of the data lie at pages that trap: at each count of lanes, load and store must stay inside."""
    source = "def kernel(args, thread, threads):\n"
    for index, kind in enumerate(KINDS):
        source += f"    m{index} = tail_bx16(word(args, {3 * index + 2}))\n"
        source += f"    v{index} = load_{kind}x16(word(args, {3 * index}), m{index})\n"
        source += f"    store(v{index}, word(args, {3 * index + 1}), m{index})\n"
    for count in (0, 1, 7, 16):
        words, checks = [], []
        stack = []
        for kind, code in KINDS.items():
            data = (np.arange(16) % 3 + 1).astype(code)[:count]
            for _ in range(2):
                stack.append(guard_page(data.nbytes))
            source_at, target_at = (one.__enter__() for one in stack[-2:])
            ctypes.memmove(source_at, data.ctypes.data, data.nbytes)
            words += [source_at, target_at, count]
            checks.append((kind, data, target_at))
        kernels.run(source, words, level)
        for kind, data, target_at in checks:
            stored = np.frombuffer(ctypes.string_at(target_at, data.nbytes), data.dtype)
            assert np.array_equal(stored, data), (kind, count)
        for one in stack:
            one.__exit__(None, None, None)


def test_gather_reads_active_lanes_only(kernels, level, guard_page):
    source = """
def kernel(args, thread, threads):
    m = tail_bx8(word(args, 2))
    i = load_i64x8(word(args, 1))
    store(gather_f32x8(word(args, 0), i * i64x8(4), m), word(args, 3))
    store(gather_f32x8(word(args, 4), select(m, i, i64x8(0)) * i64x8(4)), word(args, 5))
    store(gather_bx8(word(args, 6), select(m, i, i64x8(0))), word(args, 7))
"""
    index = np.array([3, 0, 2, 1, 10**9, -(10**9), 5, 6])
    with guard_page(16) as address:
        data = np.array([1, 2, 3, 4], np.float32)
        ctypes.memmove(address, data.ctypes.data, 16)
        out, full, flags, found = (
            np.ones(8, np.float32),
            np.ones(8, np.float32),
            np.array([1, 0, 0, 7], np.uint8),
            np.ones(8, bool),
        )
        kernels.run(source, [address, index, 4, out, data, full, flags, found], level)
    assert out.tolist() == [4, 1, 3, 2, 0, 0, 0, 0]
    assert full.tolist() == [4, 1, 3, 2, 1, 1, 1, 1]
    assert found.tolist() == [True, True, False, False, True, True, True, True]


def test_scatter_writes_active_lanes_only(kernels, level, guard_page):
    """Inactive lanes name places outside; of equal places the last lane's value stays."""
    source = """
def kernel(args, thread, threads):
    m = tail_bx8(word(args, 2))
    i = load_i64x8(word(args, 1))
    scatter(load_f32x8(word(args, 3)), word(args, 0), i * i64x8(4), m)
    scatter(load_i64x8(word(args, 1)), word(args, 4), select(m, i, i64x8(7)) * i64x8(8))
    scatter(i > i64x8(2), word(args, 5), select(m, i, i64x8(4)))
"""
    index = np.array([3, 0, 2, 1, 10**9, -(10**9), 5, 6])
    values = np.arange(8, dtype=np.float32)
    for is_twin in (False, True):
        with guard_page(16) as address:
            full, flags = np.full(8, 9), np.full(5, 7, np.uint8)
            words = [address, index, 4, values, full, flags]
            if is_twin:
                target = words[0] = np.zeros(4, np.float32)
                kernels.run_twin(source, words)
            else:
                kernels.run(source, words, level)
                target = np.frombuffer(ctypes.string_at(address, 16), np.float32)
            assert target.tolist() == [1, 3, 2, 0]
        assert full.tolist() == [0, 1, 2, 3, 9, 9, 9, 6]
        assert flags.tolist() == [0, 0, 0, 1, 1]


def test_booleans_are_bytes(kernels, level):
    texts = ["load_bx4(p)", "load_b(p)", "load_u8(p)"]
    data = np.array([2, 0, 255, 0], np.uint8)
    out, one, byte = np.full(4, 9, np.uint8), np.full(1, 9, np.uint8), np.full(1, 9, np.uint8)
    source = "def kernel(args, thread, threads):\n    p = word(args, 0)\n"
    source += "".join(f"    store({text}, word(args, {index + 1}))\n" for index, text in enumerate(texts))
    for runner in (lambda words: kernels.run(source, words, level), lambda words: kernels.run_twin(source, words)):
        runner([data, out, one, byte])
        assert out.tolist() == [1, 0, 1, 0]
        assert (one[0], byte[0]) == (1, 2)


def test_atomics_time_and_calls(kernels, level):
    source = """
def kernel(args, thread, threads):
    p = word(args, 0)
    old = atomic_add(p, 5)
    store(old, p + 8)
    store(compare_exchange(p, 15, 99), p + 16)
    store(compare_exchange(p, 15, 77), p + 24)
    atomic_store(p + 32, atomic_load(p) + 1)
    pause()
    yield_thread()
    start = nanoseconds()
    while nanoseconds() <= start:
        pause()
    store(nanoseconds() > start, p + 40)
"""
    for runner in (lambda words: kernels.run(source, words, level), lambda words: kernels.run_twin(source, words)):
        block = np.zeros(6, np.int64)
        block[0] = 10
        runner([block])
        assert block.tolist() == [99, 10, 15, 99, 100, 1]


def test_denormals_are_flushed_until_arithmetic_is_restored(kernels, level):
    source = """
def kernel(args, thread, threads):
    data = word(args, 0)
    tiny = load_f32(data)
    store(tiny * f32(0.5), data + 4)
    before = flush_denormals()
    kept = flush_denormals()
    store(tiny * f32(0.5) + load_f32(data + 16), data + 8)
    restore_arithmetic(kept)
    store(load_f32(data) * f32(0.5) + load_f32(data + 16), data + 12)
    restore_arithmetic(before)
    store(load_f32(data) * f32(0.25), data + 20)
"""
    least = np.finfo(np.float32).smallest_normal
    data = np.array([least, 0, 1, 1, least / 4, 0], np.float32)
    kernels.run(source, [data], level)
    # Neither results nor operands: half of the least is a zero, and so is a quarter that is read.
    assert data.tolist() == [least, least / 2, 0, 0, least / 4, least / 4]


def test_call_kernel(kernels, level):
    outer = "def kernel(args, thread, threads):\n    call_kernel(word(args, 0), word(args, 1), thread + 3, threads)\n"
    seen = []
    callback = kernels.call(lambda *arguments: seen.append(arguments))
    address = ctypes.cast(callback, ctypes.c_void_p).value
    kernels.run(outer, [address, 123], level)
    assert seen == [(123, 3, 1)]
    names = twin.namespace()
    exec(outer, names)
    row = np.array([77, 123])
    with twin.buffers([(row.ctypes.data, 16, False)], kernels={77: lambda *arguments: seen.append(arguments)}):
        names["kernel"](row.ctypes.data, 0, 1)
    assert seen[1] == (123, 3, 1)
    with twin.buffers([(row.ctypes.data, 16, False)]), pytest.raises(twin.OutOfBounds, match="no kernel"):
        names["kernel"](row.ctypes.data, 0, 1)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("load_f32x16(p)", "read of 64 bytes .* nearest buffer is 60 bytes .* starts at its byte 0"),
        ("load_f32(p - 4)", "starts at its byte -4"),
        ("store(f32(1.0), p + 60)", "write of 4 bytes .*starts at its byte 60"),
        ("store(f32(1.0), q)", "write of 4 bytes .*read-only"),
        ("gather_f32x4(p, iota_i64x4(13) * i64x4(4))", "starts at its byte 60"),
        ("scatter(f32x4(1.0), p, iota_i64x4(12) * i64x4(4))", "write of 4 bytes .*starts at its byte 60"),
        ("load_f32x16(p, tail_bx16(16))", "read of 64 bytes .*starts at its byte 0"),
        ("view_f32(p, 4, 4)", "nearest buffer"),
    ],
)
def test_twin_names_address_size_and_nearest_buffer(kernels, statement, message):
    source = f"def kernel(args, thread, threads):\n    p = word(args, 0)\n    q = word(args, 1)\n    {statement}\n"
    p, q = np.zeros(15, np.float32), np.zeros(4, np.float32)
    with pytest.raises(twin.OutOfBounds, match=message):
        kernels.run_twin(source, [p, q], read_only=[q])


def test_twin_allows_what_is_inside(kernels):
    statement = "store(load_f32x16(word(args, 0), tail_bx16(15)), word(args, 0), tail_bx16(15))"
    source = f"def kernel(args, thread, threads):\n    {statement}\n"
    kernels.run_twin(source, [np.zeros(15, np.float32)])
    with pytest.raises(twin.OutOfBounds, match="no buffer is registered"):
        twin.namespace()["load_f32"](1000)


@pytest.mark.parametrize("kind", ["f32", "i32", "u32", "f64", "i64"])
def test_transpose_reads_and_writes_a_square_and_no_more(kernels, level, guard_page, kind):
    """The last row of either square ends at a page that traps; what lies between rows stays as it was."""
    dtype = np.dtype(KINDS[kind])
    side = 64 // dtype.itemsize
    square = np.arange(side * side).astype(dtype).reshape(side, side)
    source, target = np.zeros((side, side + 3), dtype), np.full((side, side + 5), 7, dtype)
    source[:, 3:] = square
    text = "def kernel(args, thread, threads):\n"
    text += f"    transpose_{kind}x{side}(word(args, 0), word(args, 1), word(args, 2), word(args, 3))\n"
    with guard_page(source.nbytes) as start, guard_page(target.nbytes) as out:
        ctypes.memmove(start, source.ctypes.data, source.nbytes)
        ctypes.memmove(out, target.ctypes.data, target.nbytes)
        words = [start + 3 * dtype.itemsize, source.strides[0], out + 5 * dtype.itemsize, target.strides[0]]
        kernels.run(text, words, level)
        found = np.frombuffer(ctypes.string_at(out, target.nbytes), dtype).reshape(target.shape)
    assert np.array_equal(found[:, 5:], square.T)
    assert np.all(found[:, :5] == 7)
    with twin.buffers([(source.ctypes.data, source.nbytes, False), (target.ctypes.data, target.nbytes, True)]):
        function = twin.namespace(True)[f"transpose_{kind}x{side}"]
        words = [source[0, 3:].ctypes.data, source.strides[0], target[0, 5:].ctypes.data, target.strides[0]]
        function(*words)
    assert np.array_equal(target[:, 5:], square.T)
