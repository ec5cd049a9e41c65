"The light core of the wheel with a newer Python, where one is at hand."
import shutil
import sys

import pytest

import packaged as w


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    "The commands of an environment of that Python that got the wheel by a plain install."
    if not (python := w.newer_python()): pytest.skip("no python3.12 or python3.13 that starts")
    folder = tmp_path_factory.mktemp("newer")
    if shutil.disk_usage(folder).free < 12e9: pytest.skip("less than 12 GB of disk for a second torch")
    wheel, bin = w.build(folder, sys.executable), w.empty(folder, python)
    try: w.install(bin, wheel)
    except AssertionError as error:
        if "No matching distribution found for torch" in str(error): pytest.skip("torch has no wheel for this Python")
        raise
    yield bin
    w.remove(folder/"env")


def test_the_core_works_with_a_newer_python(newer):
    done = w.call(newer, "symbreak", "plan", "ising")
    assert done.returncode == 0 and "wolff" in done.stdout, done.stderr[-2000:]
    for extra, code in w.examples():
        if not extra: assert (done := w.call(newer, "python", "-c", code)).returncode == 0, done.stderr[-2000:]
