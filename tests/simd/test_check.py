import numpy as np

SOURCE = """
def kernel(args, thread, threads):
    i = load_i64x8(word(args, 1))
    m = load_bx8(word(args, 2))
    store(check_index(i, word(args, 3), args, 11, m), word(args, 4))
    store(check_index(load_i64(word(args, 5)), word(args, 3), args, 12), word(args, 6))
"""


def both(kernels, level, index, mask, scalar, size=10, source=SOURCE):
    results = []
    for runner in (lambda words: kernels.run(source, words, level), lambda words: kernels.run_twin(source, words)):
        status, out, one = np.zeros(4, np.int64), np.full(8, 77), np.full(1, 77)
        runner([status, np.array(index), np.array(mask), size, out, np.array([scalar]), one])
        results.append((status.tolist(), out.tolist(), one.tolist()))
    assert results[0] == results[1]
    return results[0]


def test_negative_indexes_wrap_once(kernels, level):
    status, out, one = both(kernels, level, [0, 9, -1, -10, 5, 3, 2, 1], [True] * 8, -3)
    assert status == [0, 0, 0, 0]
    assert out == [0, 9, 9, 0, 5, 3, 2, 1]
    assert one == [7]


def test_first_error_stays(kernels, level):
    status, out, one = both(kernels, level, [0, 9, 10, -11, 5, 3, 2, 1], [True] * 8, 99)
    assert status == [1, 11, 10, 10]
    assert out == [0, 9, 0, 0, 5, 3, 2, 1]
    assert one == [0]


def test_the_smallest_site_stays(kernels, level):
    source = SOURCE.replace("args, 12", "args, 3")
    status, _, _ = both(kernels, level, [0, 9, 10, -11, 5, 3, 2, 1], [True] * 8, 99, source=source)
    assert status == [1, 3, 99, 10]


def test_inactive_lanes_do_not_count(kernels, level):
    status, out, _ = both(kernels, level, [99, 9, 10, -11, 5, 3, 2, 1], [False, True, False, False] + [True] * 4, -11)
    assert status == [1, 12, -11, 10]
    assert out[:4] == [0, 9, 0, 0]


def test_a_position_does_not_count_from_the_end(kernels, level):
    source = SOURCE.replace("check_index", "check_position")
    status, out, one = both(kernels, level, [0, 9, 2, -1, 5, 3, 2, 10], [True] * 8, 7, source=source)
    assert status == [1, 11, -1, 10]
    assert out == [0, 9, 2, 0, 5, 3, 2, 0]
    assert one == [7]
    status, _, one = both(kernels, level, [0] * 8, [True] * 8, -3, source=source)
    assert status == [1, 12, -3, 10]
    assert one == [0]
