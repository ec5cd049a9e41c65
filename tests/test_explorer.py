"""The explorer follows its controls and refuses what is too large."""
import doctest
import json

import papermill
import pytest
from symbreak_nb import explorer as ex
from symbreak_nb import landscape as ls
from symbreak_nb.run import ParameterError


def test_explorer_follows_its_controls():
    pytest.importorskip("ipywidgets")
    view = ex.explorer(live=True, widths="1", arm="raw")
    controls = {w.description: w for w in view.children[0].children}
    assert controls["widths"].value == "1" and controls["arm"].value == "raw" and ex.explorer() is None
    for name, value in (("widths", "3, 3"), ("alphabet", "-2, -1, 1, 2"), ("constant", 1.0)): controls[name].value = value
    own = ex.explorer(live=True, widths="1, 1", alphabet="0, 1")   # not in the menus
    assert [w.value for w in own.children[0].children][:2] == ["1, 1", "0, 1"]
    d = ex.explore(ex.explorer_network("2", "-1, 0, 1", arm="expanded"))
    assert d["multiplicity"].sum() == 3**6 == d["picture"].sum() and len(d["barriers"]) == d["multiplicity"][0] - 1


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ex.explore(ls.classifier("expanded")), "this has 8,388,608"),
    (lambda: ex.explorer_network("3; 2"), "widths = "),
    (lambda: ex.explorer_network("2", "-1; 1"), "alphabet = "),
])
def test_bad_input_is_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as error: call()
    assert "\n" not in str(error.value)




def test_a_plan_can_be_tried():
    (unit,) = ex.plan_units(ex.PARAMETERS["smoke"])
    assert unit.count == 1 and unit.flops > 0 and unit.memory_bytes > 0 and unit.step()["multiplicity"].sum() == 2**8


def test_examples_of_the_docstrings(): assert doctest.testmod(ex).failed == 0 < doctest.testmod(ex).attempted


def run_notebook(tmp_path, **parameters):
    papermill.execute_notebook("nbs/17_explorer.ipynb", str(tmp_path/"x.ipynb"), progress_bar=False,
                               parameters=dict(profile="smoke", out_dir=str(tmp_path/"r"), **parameters))
    return json.loads((tmp_path/"r"/"metrics.json").read_text())


def test_notebook_with_another_network(tmp_path):
    run_notebook(tmp_path, arm="bias", widths="[2]", n_points=7)
    from numpy import load
    with load(tmp_path/"r"/"data"/"landscape_explorer.npz") as d: assert d["multiplicity"].sum() == 2**6


def test_notebook_refuses_before_work(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="this has 8,388,608"): run_notebook(tmp_path, arm="bias", widths=[3, 3, 2])
