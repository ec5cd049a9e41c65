"Parameters of every section, against its checks alone: what is refused, what is accepted, and in which words."
import importlib
import math

import numpy as np
import pytest
from symbreak_nb.parameters import PROFILE_NAMES, Declaration
from symbreak_nb.run import Check, ParameterError
from symbreak_nb.sections import find_sections

COMMON = {"profile", "seed", "device", "out_dir"}
SECTIONS = {name: section for name, section in find_sections().items()
            if COMMON < set(section.parameters)}
MODULES = {name: importlib.import_module(f"symbreak_nb.{name}") for name in SECTIONS}
CHECKS = {name: {key: one.check for key, one in module.PARAMETERS.settable().items()} for name, module in MODULES.items()}
EVERY = [(name, key) for name, checks in CHECKS.items() for key in checks]
TRUTHS = {(name, key) for name, key in EVERY if key in ("conv_share_masks", "centred", "augment", "own_points", "as_published")}
TRUTHS |= {("coloring", "decay")}
ARMS = ("expansion", "augment")   # a list of truth values, one an arm
TRUTHS -= {ARMS}
WILD = [math.nan, math.inf, -math.inf, -1e308, -1e30, "", "1", {}, [], [[]], [math.nan], [1, math.inf], 1j, b"1", object()]


def refused(check: Check, name: str, value) -> str:
    "The one line of a refusal; nothing else may be raised."
    with pytest.raises(ParameterError) as caught: check(name, value)
    assert str(caught.value).startswith(f"{name} = ") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_parameter_is_declared_once_with_its_check_and_meaning(name):
    declared, checks = MODULES[name].PARAMETERS, CHECKS[name]
    assert isinstance(declared, Declaration) and declared.section == name
    assert set(checks) == set(SECTIONS[name].parameters) - COMMON
    assert all(isinstance(check, Check) for check in checks.values())
    assert all(one.meaning.strip() for one in declared.parameters.values())
    assert not hasattr(MODULES[name], "PROFILES") and not hasattr(MODULES[name], "allowed")


@pytest.mark.parametrize("name", SECTIONS)
def test_the_picture_of_the_first_screen_is_a_figure_of_the_section(name):
    assert MODULES[name].PARAMETERS.picture in SECTIONS[name].figures


@pytest.mark.parametrize("name, key", EVERY)
def test_wild_values_are_refused_in_one_line(name, key):
    check = CHECKS[name][key]
    for value in WILD: refused(check, key, value)


@pytest.mark.parametrize("name, key", EVERY)
def test_truth_values_are_no_numbers_and_numbers_no_truth_values(name, key):
    check = CHECKS[name][key]
    for value in (True, False, np.True_, np.False_):
        if (name, key) in TRUTHS and type(value) is bool: assert check(key, value) is value
        else: refused(check, key, value)
    for value in ([True, 2], [0, False], [False, 1.0], [12, True]): refused(check, key, value)
    if (name, key) == ARMS: assert check(key, [True]) == [True]
    else: refused(check, key, [True])
    if (name, key) in TRUTHS:
        for value in (0, 1, 0.0, 1.0): refused(check, key, value)


def own(name, profile):
    "The values of a run that sets nothing."
    return MODULES[name].PARAMETERS.resolve(profile, SECTIONS[name].parameters)


def home(name, key):
    "The section that declares a parameter: the named one, or else the only one."
    if key in CHECKS[name]: return name
    (found,) = (other for other, checks in CHECKS.items() if key in checks)
    return found


@pytest.mark.parametrize("profile", PROFILE_NAMES)
@pytest.mark.parametrize("name", SECTIONS)
def test_the_own_values_of_a_section_are_allowed(name, profile):
    getattr(MODULES[name], "check_parameters", lambda p: None)(own(name, profile))


@pytest.mark.parametrize("name, key, value", [
    ("rd_metric", "umap_seeds", 1), ("ising", "J", 1e308), ("ising", "h", 1e308), ("ising", "J", -1e7), ("ising", "T", 1e-300),
    ("ising", "T", 1e300), ("noise", "noise_max", 1e308), ("noise", "scan_sizes", [16, 16]),
    ("noise", "scan_sizes", [16, 17]), ("noise", "scan_sizes", [16]), ("noise", "scan_sizes", [True, 16]),
    ("noise", "scan_sizes", [0, 16]), ("expansion", "n_train", False), ("expansion", "n_test", 0.0),
    ("expansion", "max_size", False), ("expansion", "models", ["small_resnet", "small_resnet"]),
    ("expansion", "datasets", ["digits", "digits"]), ("expansion", "fill", True), ("landscape", "widths", [2, True]),
    ("symmetries", "sigma", 5e-324), ("symmetries", "gamma", 1e-3),
    ("symmetries", "threshold", 0), ("alignment", "lr", 0.99), ("rd_metric", "replicas", 4)])
def test_values_that_would_fail_after_work_are_refused_before(name, key, value):
    refused(CHECKS[home(name, key)][key], key, value)


@pytest.mark.parametrize("name, changed, words", [
    ("landscape", dict(widths=[64, 64]), "widths"), ("landscape", dict(conv_kernel=4, conv_padding=0), "conv_kernel"),
    ("landscape", dict(conv_channels=4, conv_hidden=4), "conv_hidden"), ("rd_metric", dict(n_components=24), "n_components"),
    ("rd_metric", dict(images=10**7), "images"),
    ("capacity", dict(widths=[64, 32]), "widths"), ("adaptation", dict(noise_levels=[0.0, 0.0]), "noise_levels"),
    ("adaptation", dict(scale_levels=[1.0]), "scale_levels"),
    ("adaptation", dict(scale_levels=[0.5, 2.0]), "scale_levels"),
    ("adaptation", dict(noise_levels=[0.1, 2.0]), "noise_levels")])
def test_parameters_that_limit_each_other_are_checked_together(name, changed, words):
    name = home(name, next(iter(changed)))
    with pytest.raises(ParameterError, match=f"{words} = ") as caught: MODULES[name].check_parameters(own(name, "smoke") | changed)
    assert "\n" not in str(caught.value)
