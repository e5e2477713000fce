import os
import subprocess
import sys
import warnings

import pytest

from graphc.emit import cache
from graphc.errors import GraphcWarning

KEY = "a" * 64


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned", [])
    monkeypatch.setattr(cache, "_measured", [])
    return tmp_path / "cache"


def missed_with_one_warning(message):
    with pytest.warns(GraphcWarning, match=message):
        assert cache.read("object", KEY) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.read("object", KEY) is None


def test_round_trip_and_clear(folder):
    assert cache.read("object", KEY) is None
    cache.write("object", KEY, b"payload")
    cache.write("plan", KEY, b"")
    assert cache.read("object", KEY) == b"payload"
    assert cache.read("plan", KEY) == b""
    assert cache.path_of("object", KEY).parent == folder / "object"
    assert [path.name for path in (folder / "object").iterdir()] == [KEY]
    cache.clear()
    assert cache.read("object", KEY) is None


@pytest.mark.parametrize("position", [0, 5, 20, 45, -1])
def test_changed_byte_is_a_miss(position):
    cache.write("object", KEY, b"payload")
    data = bytearray(cache.path_of("object", KEY).read_bytes())
    data[position] ^= 1
    cache.path_of("object", KEY).write_bytes(data)
    missed_with_one_warning("damaged")
    cache.write("object", KEY, b"again")
    assert cache.read("object", KEY) == b"again"


@pytest.mark.parametrize("length", [0, 3, 12, 40, 46])
def test_truncated_file_is_a_miss(length):
    cache.write("object", KEY, b"payload")
    data = cache.path_of("object", KEY).read_bytes()
    cache.path_of("object", KEY).write_bytes(data[:length])
    missed_with_one_warning("damaged")


@pytest.mark.parametrize("which", ["file", "kind", "root"])
def test_what_others_can_write_is_not_trusted(folder, which):
    cache.write("object", KEY, b"payload")
    path = {"file": cache.path_of("object", KEY), "kind": folder / "object", "root": folder}[which]
    path.chmod(0o777)
    missed_with_one_warning("can be written by others")


def test_what_another_user_owns_is_not_trusted(monkeypatch):
    cache.write("object", KEY, b"payload")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    missed_with_one_warning("belongs to another user")


def test_link_is_not_followed(tmp_path):
    cache.write("object", KEY, b"payload")
    path = cache.path_of("object", KEY)
    moved = path.rename(tmp_path / "elsewhere")
    path.symlink_to(moved)
    missed_with_one_warning("cache is not used")


def test_folder_that_cannot_be_made(folder):
    folder.write_text("a file is in the way")
    with pytest.warns(GraphcWarning, match="cache is not used"):
        cache.write("object", KEY, b"payload")
    cache.write("object", KEY, b"payload")
    assert cache.read("object", KEY) is None
    cache.clear()


def test_full_disk_leaves_nothing_behind(folder, monkeypatch):
    cache.write("object", KEY, b"payload")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(GraphcWarning, match="No space left"):
        cache.write("object", "b" * 64, b"payload")
    assert [path.name for path in (folder / "object").iterdir()] == [KEY]


def test_names_cannot_leave_the_folder():
    for kind, key in (("object", "../x"), ("object", "a/b"), ("elsewhere", KEY), ("object", "")):
        with pytest.raises(ValueError, match="no cache entry"):
            cache.path_of(kind, key)


def test_key_depends_on_every_part_and_on_the_environment(monkeypatch):
    keys = {cache.key_of("x86-64", "ab", "c"), cache.key_of("x86-64", "a", "bc"), cache.key_of("x86-64-v3", "ab", "c")}
    assert cache.key_of("x86-64", "ab", "c") == cache.key_of("x86-64", b"ab", b"c")
    monkeypatch.setattr(cache, "environment", lambda: "another version")
    keys.add(cache.key_of("x86-64", "ab", "c"))
    assert len(keys) == 4
    assert all(key.isalnum() for key in keys)


def test_versions_are_found_without_importing():
    code = (
        "import sys; from graphc.emit import cache; text = cache.environment();"
        "assert not {'numba', 'llvmlite'} & set(sys.modules); print(text)"
    )
    text = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    import llvmlite
    import numba

    assert numba.__version__ in text
    assert llvmlite.__version__ in text


def test_entries_are_listed_and_verified(folder):
    assert cache.entries() == []
    cache.write("object", KEY, b"payload")
    cache.write("plan", "b" * 64, b"")
    assert {(e.kind, e.key) for e in cache.entries()} == {("object", KEY), ("plan", "b" * 64)}
    assert cache.verify() == []
    path = cache.path_of("object", KEY)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert [(e.kind, e.key) for e in cache.verify()] == [("object", KEY)]


def test_least_recently_used_entries_go_first(folder):
    for n, key in enumerate("abc"):
        cache.write("object", key * 64, bytes(1000))
        os.utime(cache.path_of("object", key * 64), (n, n))
    cache.read("object", "a" * 64)  # its last use was long ago: noted
    cache.shrink(2500)
    assert [e.key[0] for e in cache.entries()] == ["c", "a"]
    cache.shrink(0)
    assert cache.entries() == []


def test_a_process_that_writes_keeps_the_limit(folder, monkeypatch):
    for key in "abcd":
        cache.write("object", key * 64, bytes(1000))
        os.utime(cache.path_of("object", key * 64), (ord(key), ord(key)))
    monkeypatch.setenv("GRAPHC_CACHE_LIMIT", "3500")
    monkeypatch.setattr(cache, "_measured", [])
    cache.write("object", "e" * 64, bytes(1000))
    assert sorted(e.key[0] for e in cache.entries()) == ["c", "d", "e"]
