"JupyterLab in a real Chromium, as `make lab` starts it: notebooks open with a picture, run, and are saved clean; sliders move pictures."
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from symbreak_nb.cli import command

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SHOWN = ["index", "17_explorer"]
PATIENCE = 240_000   # milliseconds, for a machine that does much else
pytestmark = pytest.mark.xdist_group("browser")


def outputs(notebook: str) -> list[str]:
    "HTML of the pictures with sliders that are stored in a notebook."
    cells = json.loads((ROOT/"nbs"/f"{notebook}.ipynb").read_text())["cells"]
    found = ["".join(o.get("data", {}).get("text/html", "")) for c in cells for o in c.get("outputs", [])]
    return [text for text in found if "symbreak-sliders" in text]


@pytest.fixture(params=SHOWN)
def stored(request, chromium, tmp_path):
    "A stored picture on a page without a kernel; what it asks for and what goes wrong is kept."
    (text,) = outputs(request.param)
    (tmp_path/"page.html").write_text(f"<!doctype html><meta charset=utf-8><body>{text}</body>")
    context = chromium.new_context(viewport=dict(width=900, height=900))
    page = context.new_page()
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto((tmp_path/"page.html").as_uri())
    yield page
    assert page.wrong == [] and len(page.asked) - sum(url.startswith("data:") for url in page.asked) == 1
    context.close()


def drawn(page) -> tuple[str, str]:
    "What a picture shows, as an image and in words."
    picture = page.locator(".symbreak-sliders").first
    image = picture.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    return image, picture.get_by_role("status").inner_text()


def test_a_stored_picture_is_light(): assert all(len(text) < 300_000 for name in SHOWN for text in outputs(name))


def test_a_slider_moves_the_picture_without_a_kernel(stored):
    for slider in stored.get_by_role("slider").all():
        slider.focus()
        stored.keyboard.press("Home")
        first, seen = drawn(stored), slider.get_attribute("aria-valuetext")
        stored.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") != seen
        stored.keyboard.press("End")
        assert all(a != b for a, b in zip(first, drawn(stored), strict=True))
    assert stored.locator("canvas").get_attribute("aria-label") == drawn(stored)[1]
    assert stored.get_by_role("slider").count() == 2 and not stored.locator("img").count(), "the still has gone"


def test_a_slider_follows_the_mouse(stored):
    slider, before = stored.get_by_role("slider").first, drawn(stored)
    slider.click(position=dict(x=3, y=10))
    assert slider.input_value() == "0" and drawn(stored) != before


@pytest.mark.parametrize("width", [320, 400, 900])
def test_a_picture_fits_a_phone(stored, width):
    stored.set_viewport_size(dict(width=width, height=900))
    stored.wait_for_timeout(100)
    assert stored.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [stored.locator(part).first.bounding_box() for part in ("canvas", "input", "[role=status]")]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    wide, high = stored.locator("canvas").evaluate("canvas => [canvas.width/canvas.clientWidth, canvas.height/canvas.clientHeight]")
    assert abs(wide - high) < 0.02, "nothing is stretched"


def test_the_words_are_those_of_the_data(chromium, tmp_path):
    "Length of walls, spins up and energy of one frame, and the flood of one landscape, counted here."
    import numpy as np
    from symbreak_nb import enumeration, explorer, lattice, sliders
    spins = sliders._quench(16, 1.5, 0.2, [0, 2], 0)[1]
    said = [
        f"length {lattice.wall_length(spins):,}, {100*(spins > 0).mean():.0f} % of the spins up",
        f"energy {lattice.energy(spins, h=0.2)/256:.2f} J".replace("-", "\u2212")]
    pairs = [(sliders.walls_in_a_field(16, fields=[0.2], times=[0, 2]), said)]
    net = explorer.explorer_network("2", arm="expanded")
    picture = sliders.flooded_landscape({0.5: net}, "constant")
    losses, water = enumeration.enumerate_losses(net), picture.data["water"][picture.sliders[1]["start"]]
    counted = [f"{np.sum(losses <= water)} of {losses.size} configurations", f"{len(enumeration.levels(losses).values)} levels"]
    for shown, said in [*pairs, (picture, counted)]:
        page = chromium.new_page()
        page.goto(shown.write(tmp_path/"page.html").as_uri())
        assert all(line in drawn(page)[1] for line in said), (said, drawn(page)[1])
        page.close()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    "What JupyterLab needs of a checkout, to be changed."
    folder = tmp_path_factory.mktemp("lab")/"checkout"
    for path in [*(f"nbs/{name}.ipynb" for name in (*SHOWN, "10_ising", "11_landscape")), "tools/jupyter.py", "settings.ini", "CLAIMS.md"]:
        (folder/path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/path, folder/path)
    for name in ("explorer", "landscape"): shutil.copytree(ROOT/"reference"/name, folder/"reference"/name)
    return folder


@pytest.fixture(scope="module")
def address(checkout):
    "JupyterLab as `make lab` starts it, with no settings of the user, at smoke."
    home = checkout.parent/"home"
    quiet = home/"settings"/"@jupyterlab"/"apputils-extension"/"notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps(dict(fetchNews="false", checkForUpdates=False)))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    folders = dict(JUPYTER_CONFIG_DIR="config", JUPYTER_DATA_DIR="data", JUPYTER_RUNTIME_DIR="runtime", JUPYTERLAB_SETTINGS_DIR="settings",
                   JUPYTERLAB_WORKSPACES_DIR="workspaces", IPYTHONDIR="ipython")
    env = {k: v for k, v in os.environ.items() if k not in ("SYMBREAK_OUT", "MPLBACKEND")} | {k: str(home/v) for k, v in folders.items()}
    (recipe,) = re.findall(r"^lab:.*\n\t\$\(BIN\)/jupyter (.*)$", (ROOT/"Makefile").read_text(), re.MULTILINE)
    flags = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=key"]
    with open(checkout.parent/"log", "w") as log:
        server = subprocess.Popen([BIN/"jupyter", *recipe.split(), *flags], cwd=checkout, stdout=log, stderr=log,
                                  env=env | dict(SYMBREAK_PROFILE="smoke", PYTHONWARNINGS="ignore"))
        try:
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            for _ in range(240):
                assert server.poll() is None, (checkout.parent/"log").read_text()[-2000:]
                try: direct.open(f"http://127.0.0.1:{port}/api?token=key").close(); break
                except OSError: time.sleep(.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


@pytest.fixture(scope="module")
def lab(chromium, address):
    "A page in JupyterLab, with a way to open a notebook."
    context = chromium.new_context(viewport=dict(width=1400, height=900))
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))

    def show(notebook: str):
        page.goto(f"{address}/lab/tree/nbs/{notebook}.ipynb?token=key&reset")
        page.wait_for_selector(".jp-Notebook .jp-RenderedMarkdown h1")
        page.wait_for_selector(".jp-StatusBar-Widget :text-matches('[|] Idle')")
        return page.locator(".jp-Notebook")

    yield page, show
    assert [url for url in page.asked if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))] == []
    context.close()


def save(page, path: Path, before: str) -> str:
    "Save the open notebook and read it from the disk."
    then = path.stat().st_mtime_ns
    page.locator(".jp-Notebook .jp-MarkdownCell").first.click()
    page.keyboard.press("Control+s")
    for _ in range(PATIENCE//500):
        if path.stat().st_mtime_ns != then: break
        page.wait_for_timeout(500)
    page.wait_for_timeout(500)   # the file is written whole by a rename
    assert path.stat().st_mtime_ns != then, "nothing was saved"
    return path.read_text()


def run_all(page) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_timeout(1000)
    page.wait_for_function("!document.querySelector('.jp-Notebook').innerText.includes('[*]')")
    page.wait_for_selector(".jp-StatusBar-Widget :text-matches('[|] Idle')")


def bring(page, found) -> None:
    "Scroll until something can be seen; JupyterLab hides cells that are far away."
    for _ in range(200):
        if found.count() and found.first.is_visible(): break
        page.locator(".jp-WindowedPanel-outer").evaluate("panel => panel.scrollBy(0, 400)")
        page.wait_for_timeout(100)
    found.first.scroll_into_view_if_needed(timeout=10_000)


def without_outputs(text: str) -> str:
    notebook = json.loads(text)
    for cell in notebook["cells"]: cell.pop("outputs", None)
    return json.dumps(notebook, indent=1)


def capture(page, name: str) -> None:
    if folder := os.environ.get("SYMBREAK_SCREENSHOTS"): page.screenshot(path=Path(folder)/f"lab_{name}.png")


def test_the_tour_opens_with_a_picture_and_links_that_look_like_links(lab, checkout):
    page, show = lab
    tour = show("index")
    still = tour.locator(".jp-OutputArea img").first
    page.wait_for_function("image => image.complete && image.naturalWidth > 100", arg=still.element_handle())
    assert still.bounding_box()["y"] < 900, "on the first screen"
    links = tour.locator("td a")
    colours = links.evaluate_all("""all => all.map(a => [getComputedStyle(a.firstElementChild || a).color,
                                                       getComputedStyle(a.closest('td').nextElementSibling).color])""")
    assert len(colours) > 20 and all(link != text for link, text in colours)
    assert not set(links.evaluate_all("all => all.map(a => a.textContent)")) & {""}
    capture(page, "tour")
    links.get_by_text("ising").first.click()
    page.wait_for_selector(".lm-TabBar-tabLabel:text('10_ising.ipynb')")


def test_with_a_kernel_the_walls_move_and_saving_changes_nothing(lab, checkout):
    page, show = lab
    before = (checkout/"nbs"/"index.ipynb").read_text()
    tour = show("index")
    tour.locator(".jp-CodeCell .jp-InputArea-editor").first.click()
    page.keyboard.press("Shift+Enter")
    tour.locator(".symbreak-sliders canvas").wait_for()
    page.wait_for_selector(".jp-StatusBar-Widget :text-matches('[|] Idle')")
    slider, start = tour.get_by_role("slider").first, drawn(page)
    slider.focus()
    page.keyboard.press("ArrowRight")
    right = drawn(page)
    assert all(a != b for a, b in zip(start, right, strict=True)), "an arrow key moves the slider, not JupyterLab's cells"
    page.keyboard.press("Home")
    assert slider.input_value() == "0" and drawn(page)[0] not in (start[0], right[0])
    capture(page, "walls")
    after = save(page, checkout/"nbs"/"index.ipynb", before)
    assert without_outputs(after) == without_outputs(before)
    assert after.splitlines()[-1] == "}" and after.endswith("}\n"), "written as the project writes it"


def test_a_section_opens_with_its_question_and_picture_and_folds_what_prepares(lab, checkout):
    page, show = lab
    before = (checkout/"nbs"/"11_landscape.ipynb").read_text()
    section = show("11_landscape")
    assert section.locator(".jp-Cell strong", has_text="Question.").first.is_visible()
    picture = section.locator(".jp-Cell").nth(1).locator("img").first
    page.wait_for_function("image => image.complete && image.naturalWidth > 100", arg=picture.element_handle())
    assert picture.bounding_box()["y"] < 900, "on the first screen"
    bring(page, section.locator(".jp-Placeholder"))
    texts = section.locator(".jp-InputArea-editor:visible").all_inner_texts()
    assert texts and not [text for text in texts if re.search(r"^(import|from) ", text, re.MULTILINE)]
    capture(page, "section")
    assert save(page, checkout/"nbs"/"11_landscape.ipynb", before) == before, "not one byte"


def test_a_run_is_saved_clean_and_the_report_finds_it(lab, checkout, monkeypatch):
    page, show = lab
    before = (checkout/"nbs"/"17_explorer.ipynb").read_text()
    show("17_explorer")
    run_all(page)
    after = save(page, checkout/"nbs"/"17_explorer.ipynb", before)
    assert without_outputs(after) == without_outputs(before)
    counts = [output.get("execution_count") for cell in json.loads(after)["cells"] for output in cell.get("outputs", [])]
    assert counts and not any(counts), "no count of the cells that ran"
    assert not (checkout/"nbs"/"results").exists()
    menus = page.locator(".jp-OutputArea .widget-vbox, .jp-OutputArea .jupyter-widgets").first
    bring(page, menus)
    assert page.locator(".jp-Notebook").get_by_text(re.compile("^<(Figure|IPython)")).count() == 0, "a picture, not its name"
    for folder in (checkout, checkout/"nbs"):
        monkeypatch.chdir(folder)
        done = CliRunner().invoke(command, ["report"], standalone_mode=False)
        assert done.exception is None and "zhang.explorer.control.best_apart" in (checkout/"results"/"index.html").read_text()
        (checkout/"results"/"index.html").unlink()
    bring(page, page.locator(".symbreak-sliders canvas"))
    start = drawn(page)
    page.get_by_role("slider", name="water level").focus()
    page.keyboard.press("End")
    assert all(a != b for a, b in zip(start, drawn(page), strict=True)) and "all in one basin" in drawn(page)[1]
    capture(page, "landscape")
