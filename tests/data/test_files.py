"""Data sets from files that the tests write byte by byte."""

import gzip
import struct

import numpy as np
import pytest

import graphc
from graphc.data import load_cifar, load_idx


def idx(code, shape, elements):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + elements


IMAGES = idx(8, (2, 2, 3), bytes(range(12)))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_is_read_plain_and_compressed(tmp_path, packed):
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(gzip.compress(IMAGES) if packed else IMAGES)
    array = load_idx(path)
    assert array.dtype == np.uint8
    assert array.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    array[0, 0, 0] = 5  # it is the caller's own
    assert load_idx(str(path))[0, 0, 0] == 0


@pytest.mark.parametrize(
    ("code", "form", "dtype"),
    [(9, "b", "int8"), (11, "h", "int16"), (12, "i", "int32"), (13, "f", "float32"), (14, "d", "float64")],
)
def test_idx_has_six_types_in_the_order_of_the_network(tmp_path, code, form, dtype):
    path = tmp_path / "numbers"
    path.write_bytes(idx(code, (3,), struct.pack(f">3{form}", 1, -2, 100)))
    array = load_idx(path)
    assert array.dtype == np.dtype(dtype)
    assert array.dtype.isnative
    assert array.tolist() == [1, -2, 100]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected IDX, which begins with 00 00"),
        (b"\x89PNG" + IMAGES[4:], "got '89 50 4e 47'"),
        (b"\0\0\x07\x01" + IMAGES[4:], "one of 0x08, .*got '00 00 07 01'"),
        (IMAGES[:10], "3 sizes of 4 bytes after the first 4, got 6 bytes"),
        (IMAGES[:-1], r"2 \* 2 \* 3 \* 1 = 12 bytes after its head, got 11"),
        (IMAGES + b"\0", "= 12 bytes after its head, got 13"),
        (idx(8, (2**32 - 1,) * 3, b""), "= 79228162458924105385300197375 bytes"),
        (gzip.compress(IMAGES, mtime=0)[:-9], "a whole gzip file"),
        (gzip.compress(IMAGES, mtime=0)[:12] + b"\xff" * 20, "a whole gzip file"),
    ],
)
def test_idx_that_is_none_or_not_whole_is_told(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(graphc.DataError, match=message) as caught:
        load_idx(path)
    assert str(path) in str(caught.value)


def record(labels, image):
    return bytes(labels) + image.transpose(2, 0, 1).tobytes()


@pytest.mark.parametrize(("classes", "labels"), [(10, [(3,), (9,), (0,)]), (100, [(19, 99), (0, 7), (5, 20)])])
def test_cifar_is_read_with_the_channels_last(tmp_path, classes, labels):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    records = [record(label, image) for label, image in zip(labels, images, strict=True)]
    first, second = tmp_path / "data_batch_1.bin", tmp_path / "data_batch_2.bin"
    first.write_bytes(records[0] + records[1])
    second.write_bytes(records[2])
    got, found = load_cifar([first, second], classes)
    np.testing.assert_array_equal(got, images)
    assert found.dtype == np.int64
    assert found.tolist() == [label[-1] for label in labels]
    assert load_cifar(second, classes)[1].tolist() == [labels[2][-1]]


@pytest.mark.parametrize(
    ("content", "classes", "message"),
    [
        (bytes(3072), 10, r"whole records of 3073 bytes, .*got 3072 bytes = 0 \* 3073 \+ 3072"),
        (b"", 10, "whole records of 3073 bytes"),
        (bytes(3073 * 2), 100, "whole records of 3074 bytes, as CIFAR-100"),
        (bytes(3073) + b"\x0a" + bytes(3072), 10, "labels below 10, got 10 in record 1: this is not CIFAR-10"),
        (b"\x14" + bytes(3073), 100, "labels below 20, got 20 in record 0"),
        (bytes(3073), 11, "classes to be 10 or 100, got 11"),
    ],
)
def test_cifar_that_is_none_or_not_whole_is_told(tmp_path, content, classes, message):
    path = tmp_path / "batch.bin"
    path.write_bytes(content)
    with pytest.raises(graphc.DataError, match=message):
        load_cifar(path, classes)


def test_no_file_is_told(tmp_path):
    with pytest.raises(graphc.DataError, match="one file or more, got none"):
        load_cifar([])
    with pytest.raises(FileNotFoundError, match="missing"):
        load_idx(tmp_path / "missing")
