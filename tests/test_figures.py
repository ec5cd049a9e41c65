"Figures are measured: text on curves, text on text, small text, panels over panels; and the stored ones are clean."
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from symbreak_nb.figures import LEAST_POINTS, PAGE_INCHES, _rendered, figure_faults, style
from symbreak_nb.run import Declaration, Run

from test_tools import tool

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def drawn():
    style()
    yield
    plt.close("all")


def panels(columns=1, rows=1, size=(6, 3), layout="constrained"):
    return plt.subplots(rows, columns, figsize=size, layout=layout, squeeze=False)


def curve(ax, **more): ax.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50), label="a measured curve", **more)


def test_a_clean_figure_has_no_faults():
    fig, axes = panels(2, 2, (7, 5))
    for ax in axes.flat:
        curve(ax)
        ax.set(xlabel="steps", ylabel="loss", title="panel")
    axes[0, 0].legend(loc="upper left")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center")
    assert figure_faults(fig) == []


@pytest.mark.parametrize("draw", [
    lambda ax: ax.legend(loc="center"),
    lambda ax: (ax.scatter([0.5], [0.55], label="points"), ax.legend(loc="center")),
    lambda ax: (ax.bar([0.5], [0.9], width=0.6), ax.legend(loc="lower right")),
    lambda ax: (ax.imshow(np.eye(3), extent=(0, 1, 0, 1), aspect="auto"), ax.legend(loc="upper left")),
    lambda ax: (ax.errorbar([0.5, 0.6], [0.9, 0.8], [0.3, 0.3], fmt="o"), ax.legend(loc="upper center")),
    lambda ax: (ax.hist([0.2, 0.21, 0.22, 0.9], 5), ax.legend(loc="upper left")),
    lambda ax: (ax.hist([0.2, 0.21, 0.22, 0.9], 20, histtype="step"), ax.legend(loc="upper left")),
    lambda ax: (ax.stairs([0.3, 0.8], [0, 1.5, 3]), ax.set_xlim(0, 3), ax.legend(loc="center")),
    lambda ax: (ax.vlines([0.1, 0.2], 0, 1), ax.legend(loc="upper left"))])
def test_a_legend_over_data(draw):
    fig, axes = panels()
    curve(axes[0, 0])
    draw(axes[0, 0])
    assert [f for f in figure_faults(fig) if f.startswith("'legend") and (" over a " in f)]


def test_faint_fills_and_notes_on_bars_are_no_fault():
    fig, axes = panels()
    ax = axes[0, 0]
    curve(ax)
    ax.fill_between([0, 1], [0.5, 0.5], [1, 1], alpha=0.2)
    ax.axvspan(0, 0.4, alpha=0.1)
    ax.bar([0.8], [0.5], 0.3)
    ax.text(0.8, 0.2, "50 %", ha="center")
    ax.legend(loc="upper left")
    assert figure_faults(fig) == []


@pytest.mark.parametrize("rotation, clean", [(0, False), (90, True), (40, True)])
def test_tick_labels_over_one_another(rotation, clean):
    fig, axes = panels(size=(4, 3))
    axes[0, 0].plot([0, 1, 2, 3, 4])
    axes[0, 0].set_xticks(range(5), [f"a long label {k}" for k in range(5)], rotation=rotation, ha="right" if rotation == 40 else "center",
                          rotation_mode="anchor" if rotation == 40 else "default")
    assert (figure_faults(fig) == []) is clean


@pytest.mark.parametrize("low", [-0.118, -0.1018, -0.0914, -0.0892, -0.0840, -0.0796, -1234.5, 0])
@pytest.mark.parametrize("width", [0.061, 0.0863, 0.0907])
def test_an_axis_gets_fewer_ticks_where_their_labels_would_meet(low, width):
    fig, axes = panels(4, size=(15.4, 3.4))
    for ax in axes[0]:
        ax.plot([low, low + width], [0, 1])
        ax.ticklabel_format(axis="x", useOffset=False)
        ax.set_yticks([0, 1], ["a long label"]*2 if ax is axes[0, 0] else [""]*2)
    assert _rendered(fig, "smoke, seed 0")[1] == []
    assert all(sum(ax.get_xlim()[0] <= x <= ax.get_xlim()[1] for x in ax.get_xticks()) >= 2 for ax in axes[0])


def test_ticks_that_an_author_placed_stay_and_their_fault_is_told():
    fig, axes = panels(size=(2, 2))
    axes[0, 0].set_xticks(range(5), [f"a long label {k}" for k in range(5)])
    assert _rendered(fig, "smoke, seed 0")[1] and len(axes[0, 0].get_xticks()) == 5


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_panel_gets_room_for_its_legend(seed, scale):
    rng, (fig, axes) = np.random.default_rng(seed), panels(4, size=(14, 3.3))
    for ax in axes[0]:
        for k in range(3): ax.errorbar(range(9), np.exp(rng.standard_normal(9)), 0.1, fmt="o-", ms=3, label=f"side {k}")
        ax.set(yscale=scale, xlabel="T", ylabel="order")
        ax.legend(fontsize=8, **({"loc": "upper left"} if seed % 2 else {}))
    assert figure_faults(fig)
    assert _rendered(fig, "smoke, seed 0")[1] == []


def test_a_legend_that_its_author_hung_elsewhere_stays_and_room_that_does_not_help_is_not_taken():
    fig, axes = panels(2, size=(7, 2))
    for ax in axes[0]:
        curve(ax)
        for x in np.linspace(0, 1, 9): ax.axvline(x)
    axes[0, 0].legend(loc="center")
    axes[0, 1].legend(loc="upper center", bbox_to_anchor=(0.5, 0.9))
    before = [ax.get_ylim() for ax in axes[0]]
    faults = _rendered(fig, "smoke, seed 0")[1]
    assert len(faults) == 1 and "legend" in faults[0] and [ax.get_ylim() for ax in axes[0]] == before


def test_a_colour_bar_against_the_next_panel():
    fig, axes = panels(2, layout="none", size=(6, 2))
    image = axes[0, 0].imshow(np.eye(4))
    axes[0, 1].plot([0, 1])
    fig.colorbar(image, cax=fig.add_axes((0.52, 0.2, 0.03, 0.6)), label="a value")
    assert any("another panel" in fault for fault in figure_faults(fig))


def test_what_leaves_the_canvas_is_small_or_cut_or_empty():
    fig, axes = panels(2, layout="none")
    curve(axes[0, 0])
    fig.text(0.95, 0.02, "runs out of the page")
    axes[0, 0].set_title("small", fontsize=6)
    axes[0, 0].set_xlabel("a name that is…")
    said = "; ".join(figure_faults(fig))
    for words in ("leaves the canvas", "6.0 points", "is cut off", "an empty panel"): assert words in said, words


def test_a_wide_figure_is_brought_to_the_page_and_stays_readable():
    fig, axes = panels(3, size=(15, 4))
    for ax in axes[0]:
        curve(ax)
        ax.tick_params(labelsize=5)
        ax.set_title("panel", fontsize=7)
    files, faults = _rendered(fig, "quick profile, seed 0")
    assert faults == [] and fig.get_size_inches()[0] == PAGE_INCHES and files["png"].startswith(b"\x89PNG")
    assert min(t.get_fontsize() for ax in axes[0] for t in (ax.title, *ax.get_xticklabels())) >= LEAST_POINTS


def test_more_than_four_panels_a_row_or_one_over_another():
    fig, axes = panels(5, size=(7, 2))
    for ax in axes[0]: curve(ax)
    assert "5 panels a row, more than 4" in figure_faults(fig)
    fig = plt.figure()
    for left in (0.1, 0.4): curve(fig.add_axes((left, 0.1, 0.5, 0.8)))
    assert "a panel over another panel" in figure_faults(fig)


def test_twins_insets_maps_and_solids_are_measured_too():
    fig, axes = panels(2, size=(7, 3))
    curve(axes[0, 0])
    axes[0, 0].twinx().plot([0, 1], [5, 5])
    axes[0, 0].inset_axes((0.1, 0.6, 0.3, 0.2)).plot([0, 1])
    axes[0, 1].pcolormesh(np.eye(4))
    solid = plt.figure().add_subplot(projection="3d")
    solid.plot([0, 1], [0, 1], [0, 1])
    assert figure_faults(fig) == [] and figure_faults(solid.figure) == []


def test_the_faults_of_a_figure_are_stored_and_listed(tmp_path, capsys):
    run = Run(Declaration("wells"), dict(profile="smoke", device="cpu", out_dir=tmp_path/"wells"))
    fig, axes = panels()
    curve(axes[0, 0])
    axes[0, 0].text(0.5, 0.5, "a note")
    run.figure(fig, "bad", "A note hides its curve")
    assert "bad: 'a note' over a curve" in capsys.readouterr().out
    run.finish()
    figures = tool("figures")
    assert figures.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == "wells: bad: 'a note' over a curve\n"
    (tmp_path/"wells"/"metrics.json").write_text("{}")
    assert figures.main([str(tmp_path)]) == 0


@pytest.mark.parametrize("path", sorted((ROOT/"reference").glob("*/*/metrics.json")), ids=lambda p: p.parent.parent.name)
def test_a_figure_of_the_reference_has_no_faults(path):
    found = {f["name"]: f.get("faults", []) for f in json.loads(path.read_text())["figures"]}
    assert not {name: faults for name, faults in found.items() if faults}
