"""Landscapes against enumerations that share no code with them, two routes against each other, the group by brute force."""
import itertools
import json
import math
import subprocess
import sys

import numpy as np
import papermill
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbreak_nb import landscape as ls
from symbreak_nb.run import ParameterError

HIDDEN = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "linear": lambda z: z, "sin": np.sin}


def naive(inputs, targets, widths, alphabet=(-1, 1), activation="tanh", output="linear"):
    "Losses in the order of itertools.product over all weights, layer by layer, row by row."
    sizes, losses = [len(inputs[0]), *widths, 1], []
    for flat in itertools.product(sorted(alphabet), repeat=sum(a*b for a, b in itertools.pairwise(sizes))):
        h, flat = np.asarray(inputs, float), list(flat)
        for layer, (fan_in, out) in enumerate(itertools.pairwise(sizes)):
            w, flat = np.array(flat[:fan_in*out]).reshape(out, fan_in), flat[fan_in*out:]
            h = h@w.T
            h = HIDDEN[activation if layer < len(widths) else output](h)
        losses.append(np.mean((h[:, 0] - targets)**2))
    return np.array(losses)


def plain_levels(losses, tolerance=1e-9):
    ordered = np.sort(losses)
    cuts = np.flatnonzero(np.diff(ordered) > tolerance) + 1
    return np.array([len(part) for part in np.split(ordered, cuts)])


CASES = [dict(widths=[3]), dict(widths=[2, 2]), dict(widths=[1, 2, 2]), dict(widths=[2, 1], alphabet=(-1, 0, 1)),
         dict(widths=[2, 2], activation="relu"), dict(widths=[2], alphabet=(-0.5, 1, 2), activation="sin"),
         dict(widths=[1, 1, 1, 1, 1]), dict(widths=[4], activation="linear"), dict(widths=[1], alphabet=(0, 1, 3, 7))]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("output", ["linear", "tanh"])
def test_every_loss_and_both_routes(case, output):
    for dimensions, seed in ((1, 0), (2, 1)):
        rng = np.random.default_rng(seed)
        x, t = rng.normal(size=(5, dimensions)), rng.normal(size=5)
        expected = naive(x, t, output=output, **case)
        net = ls.DiscreteNetwork(x, t, output_activation=output, **case)
        for chunk in (8, 2**20): np.testing.assert_allclose(ls.enumerate_losses(net, chunk), expected, atol=1e-11)
        np.testing.assert_allclose(net.losses(np.arange(net.n_configurations)), expected, atol=1e-11)
        full, short = ls.levels(expected), ls.levels(*ls.representatives(net))
        np.testing.assert_array_equal(full.multiplicity, short.multiplicity.astype(int))
        np.testing.assert_array_equal(full.multiplicity, plain_levels(expected))
        np.testing.assert_allclose(full.values, short.values, atol=1e-11)


@pytest.mark.parametrize("letters", [(-1, -1/3, 1/3, 1), (-math.sqrt(2), -0.1, 0.1, math.sqrt(2)), (-0.3, 0.1, 0.2)])
def test_letters_that_no_float_holds_exactly(letters):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(7, 2)), rng.normal(size=7)
    for activation, output in itertools.product(("tanh", "relu"), ("linear", "tanh")):
        net = ls.DiscreteNetwork(x, t, [2], letters, activation, output)
        expected = naive(x, t, [2], letters, activation, output)
        np.testing.assert_allclose(ls.enumerate_losses(net), expected, atol=1e-13)
        full, short = ls.levels(expected), ls.levels(*ls.representatives(net))
        assert full.clear and short.clear
        np.testing.assert_array_equal(full.multiplicity, short.multiplicity.astype(int))


@pytest.mark.parametrize("letters", [(-1e8, 1e-5, 1.0), (1e-12, 1.0), (1.0, 1 + 1e-13)])
def test_letters_far_apart_are_told_apart(letters):
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(5, 2)), rng.normal(size=5)
    for activation, output in (("tanh", "linear"), ("tanh", "tanh"), ("relu", "tanh")):
        net, expected = ls.DiscreteNetwork(x, t, [2], letters, activation, output), naive(x, t, [2], letters, activation, output)
        np.testing.assert_allclose(ls.enumerate_losses(net), expected, rtol=1e-14, atol=1e-15*expected.max())


@settings(max_examples=40, deadline=None)
@given(widths=st.lists(st.integers(1, 3), min_size=1, max_size=3), dimensions=st.integers(1, 3), points=st.integers(1, 6),
       letters=st.sampled_from([(-1, 1), (-1, 0, 1), (0, 1), (-2, 1)]), activation=st.sampled_from(["tanh", "relu", "sin"]),
       seed=st.integers(0, 10**6))
def test_routes_agree_on_any_network(widths, dimensions, points, letters, activation, seed):
    rng = np.random.default_rng(seed)
    net = ls.DiscreteNetwork(rng.normal(size=(points, dimensions)), rng.normal(size=points), widths, letters, activation)
    if net.n_configurations > 2**14: return
    losses = ls.enumerate_losses(net, chunk=int(2**rng.integers(3, 20)))
    codes = rng.integers(0, net.n_configurations, 50)
    np.testing.assert_allclose(losses[codes], net.losses(codes), atol=1e-10)
    full, short = ls.levels(losses), ls.levels(*ls.representatives(net))
    if full.clear: np.testing.assert_array_equal(full.multiplicity, short.multiplicity.astype(int))
    orbits = ls.symmetry_orbits(net, explicit=True)
    assert len(np.unique(orbits.labels)) == orbits.n_orbits
    assert net.n_configurations/orbits.order <= orbits.n_orbits <= net.n_configurations
    largest = [np.ptp(losses[orbits.labels == label]) for label in np.unique(orbits.labels)[:200]]
    assert max(largest) <= 1e-10*max(1, losses.max())   # the loss is constant on every orbit


@pytest.mark.parametrize(("arm", "counts"), [("raw", (49, 253_952, 27_648, 135)), ("expanded", (385, 1_736_704, 18_432, 852)),
                                             ("bias", (385, 1_736_704, 9_216, 852)), ("both", (3329, 12_713_984, 4_608, 5968))])
def test_the_papers_networks(arm, counts):
    net = ls.classifier(arm)
    found = ls.levels(*ls.representatives(net))
    assert (len(found.values), found.multiplicity.max(), found.multiplicity[0], ls.symmetry_orbits(net).n_orbits) == counts
    assert sum(found.multiplicity) == 2**net.n_weights and found.clear
    assert ls.symmetry_orbits(net).order == math.factorial(3)**2*math.factorial(2)*2**8


def test_group_elements_are_symmetries_and_partial_exchanges_are_not():
    net = ls.classifier("expanded", [3, 2], n_points=9)
    losses = ls.enumerate_losses(net)
    table = losses.reshape((2,)*net.n_weights)
    generators = list(ls.generators(net))
    assert len(generators) == 2 + 3 + 1 + 2
    for g in generators: np.testing.assert_allclose(ls.transform(net, losses, g), table, atol=1e-13)
    assert np.abs(ls.transform(net, losses, (0, 0, "exchange"), leave=(1,)) - table).max() > 0.1
    codes = np.arange(net.n_configurations)
    for g in generators:
        moved = ls.transform(net, codes, g)
        assert np.array_equal(np.sort(moved.ravel()), codes)                                          # a permutation
        assert np.array_equal(ls.transform(net, np.ascontiguousarray(moved).ravel(), g).ravel(), codes)   # its own inverse


def test_a_bias_is_a_constant_of_one_and_zero_adds_nothing():
    for seed in range(3):
        reading = dict(widths=[3, 2], n_points=11, sampling="uniform", seed=seed)
        one, bias, zero, raw = (ls.enumerate_losses(ls.classifier(arm, constant=c, **reading))
                                for arm, c in (("expanded", 1.0), ("bias", 0.5), ("expanded", 0.0), ("raw", 0.5)))
        np.testing.assert_allclose(one, bias, rtol=1e-13, atol=1e-15)
        a, b = ls.levels(zero), ls.levels(raw)
        np.testing.assert_array_equal(a.multiplicity, 8*b.multiplicity)


@pytest.mark.parametrize("constant", [1e-6, 7.0, 10.0, 1e6])
def test_saturated_networks_are_counted_or_said_to_be_unclear(constant):
    for output in ("linear", "tanh"):
        u = ls.count_levels("expanded", constant=constant, output_activation=output)
        assert u["multiplicity"].sum() == 2**23 and (u["clear"] or u["gap"] < 1e-10)


def test_oddness_is_tested_at_all_sizes():
    x = np.random.default_rng(0).normal(size=(5, 2))*3
    for function, odd in ((lambda z: np.clip(z, -5, 4), False), (lambda z: z**3, True), (np.arctan, True), (np.abs, False)):
        net = ls.DiscreteNetwork(x, x[:, 0], [2, 2], activation=function)
        assert ls.sign_flips(net) == odd
        plain = net.losses(np.arange(net.n_configurations))
        np.testing.assert_allclose(ls.enumerate_losses(net), plain, atol=1e-12*max(1, plain.max()))


def test_wide_layers_are_folded_in_pieces():
    for widths in ([3], [1, 4], [2, 2]):
        net = ls.classifier("both", widths, n_points=6)
        for chunk in (2**5, 2**9, 2**20):
            losses = ls.enumerate_losses(net, chunk)
            codes = np.random.default_rng(chunk).integers(0, net.n_configurations, 500)
            np.testing.assert_allclose(losses[codes], net.losses(codes), atol=1e-12)


def test_levels_merge_rounding_and_refuse_nan():
    exact = np.random.default_rng(0).random(50)
    noisy = np.repeat(exact, 1000)*(1 + 3e-16*np.random.default_rng(1).normal(size=50_000))
    found = ls.levels(noisy)
    assert len(found.values) == 50 and set(found.multiplicity) == {1000} and found.floats > 50 and found.clear
    assert not ls.levels(np.array([0.0, 5e-13, 1.0])).clear       # two levels that could be one
    assert ls.levels(np.zeros(10)).gap == math.inf
    for bad in ([], [np.inf, 1.0]):
        with pytest.raises(ParameterError, match="finite numbers"): ls.levels(bad)


def test_count_floats_does_not_care_about_blocks():
    values = np.random.default_rng(0).integers(0, 30, 1000)/7
    whole = ls.count_floats([values])
    for parts in (3, 17):
        split = ls.count_floats(np.array_split(values, parts))
        for a, b in zip(whole, split, strict=True): np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("letters", [(-1, 1), (-1, 0, 1)])
def test_descents_and_minima_by_brute_force(letters):
    rng = np.random.default_rng(len(letters))
    x = rng.normal(size=(6, 2))
    net = ls.DiscreteNetwork(x, x[:, 0], [2], letters)
    losses, n, base = ls.enumerate_losses(net), net.n_configurations, len(letters)
    digits = np.array(list(itertools.product(range(base), repeat=net.n_weights)))
    near = [np.flatnonzero((digits != d).sum(1) == 1) for d in digits]
    reach, minimum = np.zeros(n), np.zeros(n, bool)
    for c in np.argsort(losses):
        better = near[c][losses[near[c]] < losses[c] - 1e-10]
        minimum[c] = not len(better)
        reach[c] = reach[better].mean() if len(better) else float(losses[c] < losses.min() + 1e-10)
    for reduce in (False, True):
        graph = ls.flip_graph(net, reduce)
        found = ls.levels(losses[graph.codes])
        walk = ls.random_descent(found.index(losses[graph.codes]), found.values, graph.neighbours)
        np.testing.assert_allclose(walk["reach"], reach[graph.codes], atol=1e-12)
        np.testing.assert_array_equal(walk["minimum"], minimum[graph.codes])
        assert walk["minimum"].sum()*graph.copies == minimum.sum() == ls.local_minima(losses, 1e-10, base)["weak"]
    assert len(graph.codes) == (n//4 if base == 2 else n)


def test_barriers_by_brute_force():
    rng = np.random.default_rng(3)
    net = ls.DiscreteNetwork(rng.normal(size=(4, 1)), rng.normal(size=4), [2, 1])
    losses, graph = ls.enumerate_losses(net), ls.flip_graph(net, reduce=False)
    level = ls.levels(losses).index(losses)
    height = np.maximum.outer(level, level)
    cost = np.full(height.shape, 10**6)
    for node, near in enumerate(graph.neighbours): cost[node, near] = height[node, near]
    np.fill_diagonal(cost, level)
    for k in range(len(level)): cost = np.minimum(cost, np.maximum(cost[:, k:k + 1], cost[k:k + 1]))   # Floyd, with max for plus
    for start in (0, 7, 30): np.testing.assert_array_equal(ls.barriers(level, graph.neighbours, start), cost[start])


def test_orbits_of_signed_permutations_by_brute_force():
    x = np.random.default_rng(0).normal(size=(5, 2))
    net = ls.DiscreteNetwork(x, x[:, 0], [2, 2], [-1, 1])
    table, seen = np.arange(net.n_configurations), set()
    moves = [ls.transform(net, table, g).ravel() for g in ls.generators(net)]
    sizes = []
    for code in table:
        if code in seen: continue
        orbit, edge = {code}, [code]
        while edge:
            edge = [int(m[c]) for c in edge for m in moves if int(m[c]) not in orbit and not orbit.add(int(m[c]))]
        seen |= orbit
        sizes.append(len(orbit))
    found = ls.symmetry_orbits(net)
    assert len(sizes) == found.n_orbits and all(found.order % size == 0 for size in sizes)


def naive_convnet(images, labels, tie=None, mask=None, batchnorm=False):
    "Cross-entropies of all combinations, in torch, one filter at a time."
    import torch
    torch.set_num_threads(1)
    x, y = torch.tensor(images)[:, None], torch.tensor(labels)
    free = [list(v) for v in itertools.product((-1.0, 1.0), repeat=9)]
    if tie: free = [v for v in free if all(torch.equal(m(torch.tensor(v).reshape(3, 3)), torch.tensor(v).reshape(3, 3)) for m in tie)]
    losses = []
    for v in free:
        h = torch.nn.functional.conv2d(x, torch.tensor(v, dtype=torch.float64).reshape(1, 1, 3, 3), padding=1)
        if batchnorm: h = torch.nn.functional.batch_norm(h, None, None, training=True, eps=1e-5)
        h = torch.relu(h).flatten(1)
        h = h if mask is None else h*torch.tensor(mask)/0.7
        for w in itertools.product((-1.0, 1.0), repeat=4):
            u = torch.relu(h@torch.tensor(w, dtype=torch.float64))
            losses += [torch.nn.functional.cross_entropy(u[:, None]*torch.tensor(o, dtype=torch.float64), y).item()
                       for o in itertools.product((-1.0, 1.0), repeat=2)]
    return np.sort(losses)


def test_convnets_against_torch():
    import torch
    images, labels = ls.pattern_images()
    flips = (lambda f: f.flip(0), lambda f: f.flip(1))
    rotation = (lambda f: torch.rot90(f, 1, (0, 1)),)
    mask = np.random.default_rng(5).integers(0, 2, (12, 4)).astype(float)
    for name, options in (("equivariant", dict(tie=flips)), ("wrong_equivariant", dict(tie=rotation))):
        np.testing.assert_allclose(np.sort(ls.convnet_losses(name)), naive_convnet(images, labels, **options), atol=1e-12)
        masked = ls.convnet_losses(name, mask=mask)
        np.testing.assert_allclose(np.sort(masked), naive_convnet(images, labels, mask=mask, **options), atol=1e-12)
        normed = ls.convnet_losses(name, batchnorm=True)
        np.testing.assert_allclose(np.sort(normed), naive_convnet(images, labels, batchnorm=True, **options), atol=1e-12)


def test_dropout_mean_is_the_sum_over_masks():
    rate, total = 0.3, 0
    for mask in itertools.product((0.0, 1.0), repeat=4):
        weight = math.prod(1 - rate if kept else rate for kept in mask)
        total = total + weight*ls.convnet_losses("equivariant", mask=np.array([mask]))
    np.testing.assert_allclose(ls.convnet_losses("dropout_mean", tie="flips"), total, atol=1e-13)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ls.enumerate_losses(ls.classifier("both", [4, 4, 2])), "with 3 inputs this has 2\\^38"),
    (lambda: ls.classifier("wide"), "one of 'raw', 'expanded', 'bias', 'both'"),
    (lambda: ls.DiscreteNetwork([[1.0]], [1.0, 2.0]), "targets = .*one number an input"),
    (lambda: ls.DiscreteNetwork([[1.0]], [1.0], activation="gelu"), "activation = 'gelu': allowed is one of"),
    (lambda: ls.DiscreteNetwork([[1.0]], [1.0], alphabet=[1.0]), "two or more different finite numbers"),
    (lambda: ls.DiscreteNetwork([[1.0]], [1.0], widths=[]), "non-empty list"),
    (lambda: ls.explore(ls.classifier("expanded")), "this has 8,388,608"),
    (lambda: ls.convnet_losses("baseline", hidden=3), "at most 24"),
    (lambda: ls.convnet_losses("baseline", mask=np.full((12, 4), 2)), "zeros and ones"),
    (lambda: ls.convnet_losses("baseline", images=np.full((2, 2, 2), np.nan), labels=[0, 1]), "finite numbers"),
    (lambda: ls.classifier("raw", sampling="sobol"), "one of 'grid', 'uniform'"),
    (lambda: ls.classifier("raw", n_points=-1), "n_points = -1"),
    (lambda: ls.classifier("raw", constant=np.nan), "constant = nan"),
    (lambda: ls.DiscreteNetwork([[1.0]], [1.0], widths=3), "non-empty list"),
    (lambda: ls.DiscreteNetwork([[1.0]], [1.0], alphabet=[[1.0, 2.0]]), "two or more different finite numbers"),
    (lambda: ls.levels([1.0, 2.0], [1]), "one for each of 2 losses"),
    (lambda: ls.levels([1.0, 2.0], tolerance=-1.0), "tolerance = -1.0"),
    (lambda: ls.enumerate_losses(ls.DiscreteNetwork([[1.0]], [1.0], [6, 3], (-1, 0, 1))), "16 weights of 3 values; with 1 inputs"),
    (lambda: ls.DiscreteNetwork([[1.0, 2.0], [3.0]], [1.0, 2.0]), "inputs = .*real numbers"),
    (lambda: ls.DiscreteNetwork([[1.0]], ["a"]), "targets = .*real numbers"),
    (lambda: ls.DiscreteNetwork([1.0, 2.0], [1.0, 2.0]), "inputs = .*points, dimensions"),
    (lambda: ls.DiscreteNetwork([[1.0]], [1.0], widths=[0]), "at least 1"),
    (lambda: ls.DiscreteNetwork([[1.0]], [1.0], alphabet=[]), "two or more different finite numbers"),
    (lambda: ls.DiscreteNetwork([[1.0]], [1.0], activation=lambda z: 0.0), "pointwise function"),
    (lambda: ls.explorer_network("3; 2"), "widths = "),
    (lambda: ls.explorer_network("2", "-1; 1"), "alphabet = "),
    (lambda: ls.levels("abc"), "losses = .*real numbers"),
    (lambda: ls.pattern_images(values=(0,)), "two or more different numbers"),
    (lambda: ls.convnet_losses(seed="x"), "seed = 'x'"),
    (lambda: ls.convnet_losses(images=[[1], [2, 3]], labels=[0]), "images = .*real numbers"),
    (lambda: ls.plan_units(ls.PROFILES["smoke"] | dict(widths=[4, 4, 2])), "with 3 inputs this has 2\\^38"),
])
def test_bad_input_is_one_line(call, words):
    with pytest.raises(ParameterError, match=words) as error: call()
    assert "\n" not in str(error.value)


def test_explorer_follows_its_controls():
    pytest.importorskip("ipywidgets")
    view = ls.explorer(live=True, widths="1", arm="raw")
    controls = {w.description: w for w in view.children[0].children}
    assert controls["widths"].value == "1" and controls["arm"].value == "raw" and ls.explorer() is None
    for name, value in (("widths", "3, 3"), ("alphabet", "-2, -1, 1, 2"), ("constant", 1.0)): controls[name].value = value
    own = ls.explorer(live=True, widths="1, 1", alphabet="0, 1")   # not in the menus
    assert [w.value for w in own.children[0].children][:2] == ["1, 1", "0, 1"]
    d = ls.explore(ls.explorer_network("2", "-1, 0, 1", arm="expanded"))
    assert d["multiplicity"].sum() == 3**6 == d["picture"].sum() and len(d["barriers"]) == d["multiplicity"][0] - 1


@pytest.mark.parametrize("profile", ["smoke", "paper"])
def test_the_plan_lists_work_that_can_be_tried(profile):
    units = ls.plan_units(ls.PROFILES[profile] | dict(widths="[2, 1]", sampling="uniform"))
    assert all(u["count"] > 0 and u["flops"] > 0 and u["memory_bytes"] > 0 and callable(u["step"]) for u in units)
    assert len(units) == 4*2*2 + 2 and all(u["step"]() > 0 for u in units[:8])
    default = {u["name"]: u["count"] for u in ls.plan_units(ls.PROFILES["quick"])}
    assert (default["raw [3, 3, 2]: descents"], default["expanded [3, 3, 2]: descents"]) == (2 + 20, 2 + 20 + 28)


def test_peak_memory_at_26_bits():
    code = ("import resource, numpy as np; from symbreak_nb import landscape as ls; net = ls.classifier('both', n_points=20)\n"
            "losses = ls.enumerate_losses(net); ls.levels(losses); ls.walk_landscape('both', n_points=20)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    peak = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert peak < 4*2**20, f"{peak/2**20:.2f} GiB"   # kilobytes


def run_notebook(tmp_path, **parameters):
    papermill.execute_notebook("nbs/11_landscape.ipynb", str(tmp_path/"x.ipynb"), progress_bar=False,
                               parameters=dict(profile="smoke", out_dir=str(tmp_path/"r"), **parameters))
    return json.loads((tmp_path/"r"/"metrics.json").read_text())


def test_notebook_with_other_parameters(tmp_path):
    metrics = run_notebook(tmp_path, widths="[2, 2]", n_points=7, sampling="uniform", constant=0.3, output_activation="tanh", seed=5,
                           conv_activation="tanh")["metrics"]
    x = np.random.default_rng(5).random(7)
    for arm, columns in dict(raw=[], expanded=[0.3], bias=[1.0], both=[0.3, 1.0]).items():
        losses = naive(np.stack([x, *(np.full(7, c) for c in columns)], 1), x > 0.5, [2, 2], output="tanh")
        plateaus = plain_levels(losses)
        assert metrics[f"{arm}.n_levels"] == len(plateaus) and metrics[f"{arm}.largest_plateau"] == plateaus.max()
        assert metrics[f"{arm}.n_at_min"] == plateaus[0] and abs(metrics[f"{arm}.min_loss"] - losses.min()) < 1e-13
    assert metrics["group_order"] == 64 and metrics["baseline.n_levels"] != 185


def test_notebook_refuses_before_work(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="this has 2\\^38"): run_notebook(tmp_path, widths=[4, 4, 2])
    assert not (tmp_path/"r"/"units").exists()
