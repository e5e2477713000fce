import sys

import numpy as np
import pytest

from graphc.simd.levels import host_level, supported_levels
from tests.simd import accuracy
from tests.simd.references import errors

pytestmark = pytest.mark.skipif(host_level().name not in supported_levels(), reason="a level forced for inspection")


@pytest.fixture
def page(tmp_path, monkeypatch):
    page = tmp_path / "mathematics.md"
    page.write_text("Before.\n\n<!-- measured: accuracy -->\n\n| function |\n|---|\n\nAfter.\n")
    monkeypatch.setattr(accuracy, "PAGE", page)
    return page


def run(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["accuracy", *options])
    accuracy.main()


def test_errors_and_times_meet_in_one_table(page, monkeypatch, capsys):
    run(monkeypatch, "--samples", "1000", "--kind", "f64", "exp", "atan2")
    run(monkeypatch, "--time", "--kind", "f64", "exp")
    text = page.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    rows = accuracy.read_table()
    assert list(rows) == ["exp", "atan2"]
    assert 0.4 < float(rows["exp"]["f64 ULP"]) <= 1.0
    assert float(rows["exp"]["f64 ns"]) > 0
    assert rows["atan2"]["f64 ns"] == ""
    assert "exp f64" in capsys.readouterr().out


def test_unknown_functions_are_refused(page, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "gamma")
    assert "there are exp" in capsys.readouterr().err


def test_errors_of_floats_are_measured_as_all_others():
    generator = np.random.default_rng(0)
    exact = np.exp(generator.uniform(-110, 95, 20_000)) * generator.choice([-1, 1], 20_000)
    exact[:6] = [0.0, -0.0, np.nan, np.inf, -np.inf, np.nan]
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    got = rounded + np.spacing(np.clip(rounded, -1e38, 1e38)) * generator.integers(-2, 3, exact.size).astype(np.float32)
    got[:6] = [0.0, -0.0, np.nan, np.inf, 3e38, np.nan]
    expected = errors(got, exact)
    units = 2.0 ** (np.maximum(np.arange(255), 1) - 150.0)
    for index in range(0, exact.size, 37):
        part = slice(index, index + 37)
        most, where = accuracy.largest_error(got[part], exact[part], rounded.view(np.int32)[part], units)
        assert most == expected[part].max()
        assert expected[part][where] == most
    zero, wrong = np.zeros(1), np.array([-0.0], np.float32)
    assert accuracy.largest_error(wrong, zero, zero.astype(np.float32).view(np.int32), units)[0] == np.inf


def test_errors_of_doubles_are_measured_as_all_others():
    generator = np.random.default_rng(0)
    exact = np.exp(generator.uniform(-745, 710, 20_000).astype(np.longdouble)) * generator.choice([-1, 1], 20_000)
    exact[:6] = [0.0, -0.0, np.nan, np.inf, -np.inf, np.nan]
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float64)
    got = rounded + np.spacing(np.clip(rounded, -1e307, 1e307)) * generator.integers(-2, 3, exact.size)
    got[:6] = [0.0, -0.0, np.nan, np.inf, 1e308, np.nan]
    expected = errors(got, exact)
    for index in range(0, exact.size, 37):
        part = slice(index, index + 37)
        most, where = accuracy.largest_sampled(got[part], exact[part])
        assert most == pytest.approx(float(expected[part].max()), rel=1e-12)
        assert expected[part][where] == expected[part].max()
    wrong = np.array([1.0, -0.0, 2.0])
    assert accuracy.largest_sampled(wrong, np.array([1.0, 0.0, 2.0], np.longdouble)) == (np.inf, 1)
