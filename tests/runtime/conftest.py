import pytest


@pytest.fixture(autouse=True)
def _verify(monkeypatch):
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
