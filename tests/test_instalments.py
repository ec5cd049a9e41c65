"Runs in pieces: units that begin in time, and units that travel in one file."
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from symbreak_nb import units as units_module
from symbreak_nb.environment import environment
from symbreak_nb.files import pack, write_atomic
from symbreak_nb.instalments import export_units, import_units
from symbreak_nb.run import Declaration, ParameterError, Run, RunError
from symbreak_nb.saddles import two_neurons
from symbreak_nb.units import OutOfTime, code_fingerprint, unit_key


def square(n): return dict(y=np.array([n*n]))


def begin(folder): return Run(Declaration("demo"), dict(profile="smoke", out_dir=folder))


@pytest.mark.parametrize("executor", ["auto", "threads"])
def test_a_run_ends_after_the_unit_in_flight_and_goes_on(tmp_path, monkeypatch, executor):
    monkeypatch.setenv("SYMBREAK_EXECUTOR", executor)
    grid, stored = [dict(n=n) for n in range(8)], lambda: len(list((tmp_path/"units").glob("*.npz")))
    monkeypatch.setattr(units_module, "_late", lambda: stored() >= 3)
    with pytest.raises(OutOfTime) as caught: begin(tmp_path).units(square, grid)
    assert 3 <= stored() < 8 and f"time is up: {8 - stored()} of 8 units of square are left" in str(caught.value)
    monkeypatch.undo()
    run = begin(tmp_path)
    assert [u["y"][0] for u in run.units(square, grid)] == [n*n for n in range(8)]
    assert len(list((tmp_path/"units").iterdir())) == 8


def test_the_end_is_read_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMBREAK_UNTIL", "1")
    with pytest.raises(OutOfTime, match="2 of 2"): begin(tmp_path).units(square, [dict(n=1), dict(n=2)])
    monkeypatch.setenv("SYMBREAK_UNTIL", "noon")
    with pytest.raises(ParameterError, match="SYMBREAK_UNTIL = 'noon': allowed is"): begin(tmp_path).units(square, [dict(n=1)])
    monkeypatch.setenv("SYMBREAK_UNTIL", "1e12")
    assert begin(tmp_path).units(square, [dict(n=3)])[0]["y"][0] == 9


def unit(folder, n=1, **changed):
    "A finished unit of a section, as a run stores it."
    notes = dict(function="two_neurons", arguments=dict(n=n), code=code_fingerprint(two_neurons), inputs={}, **environment())
    key = unit_key(two_neurons, dict(n=n))
    return write_atomic(folder/"saddles"/"units"/f"{key}.{n}.npz", pack(dict(y=float(n)), dict(key=key) | notes | changed))


def content(folder): return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.npz"))}


def test_units_of_two_machines_come_together(tmp_path):
    for name, numbers in (("one", (1, 2)), ("two", (2, 3))):
        for n in numbers: unit(tmp_path/name, n)
        assert export_units(tmp_path/name, tmp_path/f"{name}.zip") == dict(saddles=2)
        found = import_units(tmp_path/f"{name}.zip", tmp_path/"all")
        assert found["stored"] == (2 if name == "one" else 1) and found["there"] == (0 if name == "one" else 1)
    assert content(tmp_path/"all") == content(tmp_path/"one") | content(tmp_path/"two")


@pytest.mark.parametrize("changed, why", [
    (dict(code="0"*16), "has other code here"), (dict(versions=dict(torch="1.0")), "other versions"),
    (dict(function="three_neurons"), "there is no symbreak_nb.saddles.three_neurons here")])
def test_what_a_run_here_would_not_use_is_refused_unless_told(tmp_path, changed, why):
    unit(tmp_path/"a", 1)
    unit(tmp_path/"a", 2, **changed)
    export_units(tmp_path/"a", tmp_path/"u.zip")
    with pytest.raises(RunError, match=why): import_units(tmp_path/"u.zip", tmp_path/"b")
    assert not (tmp_path/"b").exists()
    assert import_units(tmp_path/"u.zip", tmp_path/"b", "any")["stored"] == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    unit(folder/"a", 1)
    export_units(folder/"a", folder/"u.zip")
    whole = bytearray((folder/"u.zip").read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder/"u.zip").write_bytes(whole)
    try: import_units(folder/"u.zip", folder/"b")
    except RunError as error: assert "\n" not in str(error) and not (folder/"b").exists()
    else: assert content(folder/"b") == content(folder/"a")


@pytest.mark.parametrize("name", ["../../out.npz", "/tmp/out.npz", "saddles/../../out.npz", "saddles/x.txt"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    import hashlib
    import json
    with zipfile.ZipFile(tmp_path/"u.zip", "w") as archive:
        archive.writestr(name, b"x")
        archive.writestr("units.json", json.dumps({name: hashlib.sha256(b"x").hexdigest()}))
    with pytest.raises(RunError, match="is no unit"): import_units(tmp_path/"u.zip", tmp_path/"b")


def test_wrong_files_and_folders_are_one_line(tmp_path):
    (tmp_path/"text").write_text("hello")
    with zipfile.ZipFile(tmp_path/"other.zip", "w") as archive: archive.writestr("a", "b")
    for call, words in ((lambda: export_units(tmp_path/"none", tmp_path/"u"), "no such folder"),
                        (lambda: export_units(tmp_path, tmp_path/"u"), "no finished units"),
                        (lambda: export_units(tmp_path, tmp_path/"u", ["ising"]), "section ising"),
                        (lambda: import_units(tmp_path/"none", tmp_path), "no such file"),
                        (lambda: import_units(tmp_path/"text", tmp_path), "no archive of units"),
                        (lambda: import_units(tmp_path/"other.zip", tmp_path), "no list of them")):
        with pytest.raises(RunError, match=words) as caught: call()
        assert "\n" not in str(caught.value)
    unit(tmp_path/"a")
    with pytest.raises(RunError, match="no such folder"): export_units(tmp_path/"a", tmp_path/"none"/"u.zip")
    with pytest.raises(RunError, match="is a folder"): export_units(tmp_path/"a", tmp_path)
    path = unit(tmp_path/"a")
    path.write_bytes(path.read_bytes()[:-9])
    export_units(tmp_path/"a", tmp_path/"u.zip")
    with pytest.raises(RunError, match="is damaged"): import_units(tmp_path/"u.zip", tmp_path/"b", "any")
