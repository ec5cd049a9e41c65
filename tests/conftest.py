"Shared by all tests: no display, scratch folders for results and cache, and the repository's root."
import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "agg")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path: return ROOT


@pytest.fixture(autouse=True)
def _scratch(monkeypatch, tmp_path):
    "A test writes below its own folder, whatever the environment of the caller says."
    for name in ("SYMBREAK_PROFILE", "SYMBREAK_OUT"): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYMBREAK_CACHE", str(tmp_path/"cache"))
