"""What all tests share: a cache folder of their own, and `--update-golden`."""

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

# Before anything of graphc is imported: tests must neither use nor fill the user's cache.
os.environ.setdefault("GRAPHC_CACHE", tempfile.mkdtemp(prefix="graphc-tests-"))
os.environ.setdefault("GRAPHC_VERIFY", "1")
# The tests themselves keep all cores busy; `tests/emit/test_parallel.py` says otherwise.
os.environ.setdefault("GRAPHC_COMPILE_PROCESSES", "1")
# Nor should they wait for one another's cores, where a test does not say how many threads it wants.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("GRAPHC_THREADS", "1")
# Which tenth of the rows is tried at CPU levels other than the host's; set here, once for all workers.
os.environ.setdefault("GRAPHC_TEST_TENTH", str(datetime.now(UTC).toordinal() % 10))

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files and generated parts of the docs"
    )


def pytest_report_header():
    return f"other CPU levels: GRAPHC_TEST_TENTH={os.environ['GRAPHC_TEST_TENTH']}"


@pytest.fixture
def golden(request):
    """Compare a text with tests/golden/NAME, or write it there under --update-golden."""

    def check(name, text):
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"{path.name} differs; if that is right, run pytest --update-golden"

    return check
