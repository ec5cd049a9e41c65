"Shared by all tests: no display, scratch folders for results and cache, the repository's root, and who runs what."
import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "agg")
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):   # share the cores, before torch counts them
    threads = str(max(1, (os.cpu_count() or 1)//workers))
    for name in ("OMP", "MKL", "OPENBLAS", "NUMBA"): os.environ.setdefault(f"{name}_NUM_THREADS", threads)
ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")) if p), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run", "--disable-quic"]


@pytest.fixture(scope="session")
def root() -> Path: return ROOT


@pytest.fixture(autouse=True)
def _scratch(monkeypatch, tmp_path):
    "A test writes below its own folder, whatever the environment of the caller says."
    for name in ("SYMBREAK_PROFILE", "SYMBREAK_OUT"): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYMBREAK_CACHE", str(tmp_path/"cache"))


@pytest.fixture(scope="module")
def chromium():
    "A real browser without a window; tests that ask for it are skipped where there is none."
    if CHROMIUM is None: pytest.skip("no system chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def one_thread():
    "The same sums in the same order on every machine."
    import torch
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


LONG = ("test_notebooks.py", "test_resume.py", "test_seeds.py")   # each test takes long and shares nothing with its neighbours


def pytest_collection_modifyitems(items):
    "Side by side: long tests first, one by one; of the other files a worker takes a whole one, with its fixtures."
    first = lambda item: 0 if item.path.name.startswith("test_wheel") else 1 if item.path.name in LONG else 2
    items.sort(key=first)  # environments of the wheel take minutes, mostly waiting
    for item in items:
        if item.path.name not in LONG: item.add_marker(pytest.mark.xdist_group(item.path.name))
