"The report in a real Chromium: it loads alone, leads to the evidence, works from the keyboard, and fits a phone."
import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from symbreak_nb.claims import Claim
from symbreak_nb.report import write_report
from symbreak_nb.run import Declaration, Estimate, Run

WIDE = "A sentence that is long enough to wrap on a phone, with a_name_without_any_place_to_break_it_" + "x"*80
IDS = dict(wells=("fok.sec25.bifurcation", "fok.wells.control.one", "fok.wells.two"),
           kuramoto=("iqbal.fig1.washout", "iqbal.walls.control.one", "iqbal.walls.two"))
PAPERS = dict(wells="fok2017", kuramoto="iqbal2025")


def executed(name):
    "The notebook of a run: a cell for each figure, and one that decides the claims."
    texts = [f'run.figure(fig, "{name}_fig0{i}", "c")' for i in range(2)]
    texts.append("\n".join(f'run.decide(CLAIMS["{id}"], 1)' for id in IDS[name]))
    title = dict(cell_type="markdown", source=f"# What {name} do\n## The verdicts")
    cells = [title, *(dict(cell_type="code", id=f"c{i}", source=text, outputs=[]) for i, text in enumerate(texts))]
    return json.dumps(dict(cells=cells, metadata=dict(papermill=dict(parameters=dict(profile="smoke", width=3)))))


@pytest.fixture(scope="module")
def page_url(tmp_path_factory):
    "A report of two sections with real figures, three verdicts, and one broken section; one verdict differs from the reference."
    import matplotlib.pyplot as plt
    root = tmp_path_factory.mktemp("browser")/"results"
    for name, values in (("wells", (10, -3, 2.5)), ("kuramoto", (100, 7, 0))):
        run = Run(Declaration(name), dict(profile="smoke", device="cpu", out_dir=root/name))
        for i, size in enumerate(((4, 3), (9, 3))):
            fig, ax = plt.subplots(figsize=size, layout="constrained")
            ax.plot(range(5))
            run.save(f"{name}_fig0{i}", y=np.arange(5))
            run.figure(fig, f"{name}_fig0{i}", WIDE)
        for i, value in enumerate(values):
            rule = ("value > 0", "value > 0", "value > 0 with 95% interval")[i]
            claim = Claim(IDS[name][i], PAPERS[name], f"Fig. {i}", f"{WIDE} {i}", rule)
            run.decide(claim, Estimate(value, (value - 3, value + 3), 5))
        run.metric("x", 1.0)
        run.finish()
        (root/name/f"{name}.ipynb").write_text(executed(name))
    (root/"cut").mkdir()
    (root/"cut"/"metrics.json").write_text("{")
    for name in IDS: shutil.copytree(root/name, root.parent/"reference"/name/"smoke")
    stored = root.parent/"reference"/"wells"/"smoke"/"metrics.json"
    record = json.loads(stored.read_text())
    record["claims"][0]["verdict"], record["metrics"]["x"] = "fails", 1 + 1e-8
    stored.write_text(json.dumps(record))
    return write_report(root, root.parent/"reference").as_uri()


@pytest.fixture
def page(chromium, page_url):
    "An open report; what the console says and every address that is asked for are kept."
    context = chromium.new_context(viewport=dict(width=1280, height=900))
    opened = context.new_page()
    opened.heard, opened.asked = [], []
    opened.on("console", lambda message: opened.heard.append(message.text))
    opened.on("pageerror", lambda error: opened.heard.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(page_url)
    yield opened
    assert opened.heard == []
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def column(page, number):
    "What a column of the shown rows is sorted by; the first column has number 1."
    bodies = page.locator("#ledger tbody:not([hidden])")
    return bodies.evaluate_all("(bodies, i) => bodies.map(b => b.rows[0].cells[i].dataset.sort)", number - 1)


def unfold(page): page.locator("details").evaluate_all("all => all.forEach(d => { d.open = true; })")


def focused(page): return page.evaluate("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 60)")


def in_view(page, locator):
    box = locator.bounding_box()
    size = page.viewport_size
    return box is not None and 0 <= box["y"] < size["height"] and box["x"] < size["width"]


def test_the_page_is_one_file_and_every_picture_is_decoded(page, page_url):
    assert [url for url in page.asked if not url.startswith("data:")] == [page_url]
    assert page.locator(".card").first.is_visible() and page.get_by_text("could not be read").is_visible()
    for image in page.locator(".card img").all(): image.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.card img')].every(i => i.complete && i.naturalWidth > 100)")
    assert page.locator(".card img").count() == 4
    assert all(page.locator(".card img").evaluate_all("images => images.map(i => i.alt.length > 10)"))


@pytest.mark.parametrize("name, number, key", [("Measured", 5, float), ("Verdict", 6, str), ("Claim", 1, str), ("Section", 3, str)])
def test_a_click_on_a_heading_sorts(page, name, number, key):
    head = page.locator("#ledger thead th", has_text=name)
    assert head.get_attribute("aria-sort") is None
    expected = sorted(column(page, number), key=key)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending" and column(page, number) == expected
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending" and column(page, number) == expected[::-1]
    assert page.locator("#ledger th[aria-sort]").count() == 1


def test_numbers_sort_as_numbers_from_the_keyboard(page):
    page.locator("#ledger thead button", has_text="Measured").focus()
    page.keyboard.press("Enter")
    assert [float(v) for v in column(page, 5)] == [-3, 0, 2.5, 7, 10, 100]


def test_filters_combine_and_say_how_many_are_left(page):
    said = page.get_by_role("status")
    page.get_by_label("Filter the claims by verdict").select_option("holds")
    assert column(page, 6) == ["holds"]*3
    page.get_by_label("Filter the claims by paper").select_option("iqbal2025")
    assert said.inner_text() == "2 of 6 rows"
    page.get_by_label("Filter the claims by kind").select_option("control")
    assert said.inner_text() == "1 of 6 rows"
    page.get_by_role("searchbox").fill("nothing like this")
    assert said.inner_text() == "0 of 6 rows"
    page.get_by_role("button", name="Show all").click()
    assert said.inner_text() == "6 of 6 rows"
    page.get_by_label("Filter the claims by section").select_option("wells")
    assert column(page, 3) == ["wells"]*3
    narrow = page.locator("#ledger tbody[data-narrow=yes][data-section=wells]").count()
    page.get_by_label("Filter the claims by narrow").select_option("yes")
    assert said.inner_text() == f"{narrow} of 6 rows"


def test_the_search_box_is_the_second_stop_and_the_skip_link_the_first(page):
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the claims" and in_view(page, page.locator(".skip"))
    page.keyboard.press("Tab")
    assert focused(page) == "words"
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.keyboard.type("control.one WELLS")
    assert column(page, 5) == ["-3"] and in_view(page, page.locator("#claims"))
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert focused(page) == "claims" and in_view(page, page.locator("#claims"))


def test_a_claim_leads_to_the_sentence_the_figure_and_the_cell(page):
    row = page.locator("#claim-fok\\.sec25\\.bifurcation")
    button = row.get_by_role("button")
    assert button.get_attribute("aria-expanded") == "false" and not row.locator(".evidence").is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    text = row.locator(".evidence").inner_text()
    for part in ("The minimum bifurcates at η = η_c", "eta_c = 2 mu/sqrt(lambda)", "value > 0",
                 "Fok, An and Wang 2017, Fig. 0", "of this number in the paper"):
        assert part in text, part
    assert row.locator(".beside img").evaluate("i => i.naturalWidth") > 100
    page.locator("details.fold").evaluate_all("all => all.forEach(d => { d.open = false; })")
    row.get_by_role("link", name="wells_fig00", exact=True).click()
    figure = page.locator("#figure-wells-wells_fig00")
    assert figure.is_visible() and in_view(page, figure)
    row.get_by_role("link", name="cell 4 of wells").click()
    cell = page.locator("#cell-wells-4")
    assert in_view(page, cell) and 'run.decide(CLAIMS["fok.sec25.bifurcation"], 1)' in cell.inner_text()
    page.get_by_label("Filter the claims by paper").select_option("iqbal2025")
    figure.locator("a.mark").first.click()
    assert row.is_visible() and in_view(page, row), "a claim that a filter hid is shown again"


def test_a_figure_leads_to_its_data_and_its_command(page):
    figure = page.locator("#figure-wells-wells_fig00")
    href = figure.get_by_role("link", name="data of wells_fig00").evaluate("a => a.href")
    with np.load(unquote(urlparse(href).path)) as data: assert data["y"].tolist() == [0, 1, 2, 3, 4]
    commands = page.locator(".command code").all_inner_texts()
    assert commands == [f"symbreak figures {name} --profile smoke --seed 0 -p width 3" for name in ("kuramoto", "wells")]
    for link in page.locator("main a[href$='.npz'], main a[href$='.png'], main a[href$='.svg'], main a[href$='.ipynb']").all():
        assert Path(unquote(urlparse(link.evaluate("a => a.href")).path)).is_file()


def test_the_reference_says_how_many_verdicts_agree_and_names_the_others(page):
    assert page.locator(".headline").inner_text() == "Verdicts that agree: 5 of 6"
    table = page.get_by_role("table", name="Verdicts that differ from the reference")
    assert table.get_by_role("row").count() == 2 and "holds" in table.inner_text() and "fails" in table.inner_text()
    numbers = page.locator("#numbers")
    assert numbers.evaluate("d => d.open") is False
    unfold(page)
    assert numbers.get_by_text("1 within rounding", exact=True).is_visible() and "one part in a million" in numbers.inner_text()


def test_the_list_of_sections_stays_in_view_in_reading_order(page):
    links = page.get_by_role("navigation", name="Sections in reading order").get_by_role("link")
    names = [text.split()[0] for text in links.all_inner_texts()]
    assert names == ["Claims", "Figures", "Reference", "Provenance", "kuramoto", "cut", "wells"]
    links.nth(4).click()
    assert in_view(page, page.locator("#section-kuramoto"))
    page.wait_for_function("document.querySelector('nav a[aria-current]')?.hash === '#section-kuramoto'")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert all(in_view(page, link) for link in links.all())


def test_on_a_phone_the_list_opens_from_a_bar_that_stays(page):
    page.set_viewport_size(dict(width=400, height=800))
    page.wait_for_function("!document.getElementById('contents').open")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    button, link = page.locator("#contents > summary"), page.locator("#contents a[href='#section-wells']")
    assert in_view(page, button) and in_view(page, page.get_by_role("searchbox")) and not link.is_visible()
    button.focus()
    page.keyboard.press("Enter")
    assert link.is_visible()
    page.keyboard.press("Escape")
    assert not link.is_visible() and focused(page) == "Sections"
    page.keyboard.press("Enter")
    link.click()
    assert in_view(page, page.locator("#section-wells")) and not link.is_visible()


def test_a_picture_is_enlarged_and_gives_the_focus_back(page):
    button = page.locator(".card button").first
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Enlarged figure")
    assert dialog.locator("img").evaluate("i => i.naturalWidth") > 100 and focused(page) == "Close"
    page.keyboard.press("Escape")
    assert not dialog.is_visible() and button.evaluate("b => b === document.activeElement")


@pytest.mark.parametrize("width", [1280, 400])
def test_what_a_screen_reader_is_told(page, width):
    "Landmarks, headings that skip no level, names of controls, and a table that stays one on a phone."
    page.set_viewport_size(dict(width=width, height=800))
    for role in ("banner", "main", "search", "contentinfo"): assert page.get_by_role(role).count() == 1, role
    unfold(page)
    levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert page.get_by_role("img", name=re.compile("^Figure ")).count() == 4
    table = page.get_by_role("table", name=re.compile("^Claims and controls"))
    assert table.get_by_role("columnheader").count() == 6 and table.get_by_role("rowheader").count() == 6
    first = table.get_by_role("row").nth(1)
    assert first.get_by_role("cell").count() == (5 if width > 760 else 4) and first.get_by_role("button", expanded=False).count() == 1
    first.get_by_role("button").click()
    assert first.get_by_role("button", expanded=True).count() == 1


@pytest.mark.parametrize("width, scheme", [(1400, "light"), (1400, "dark"), (400, "light")])
def test_axe_finds_nothing_serious(page, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.set_viewport_size(dict(width=width, height=900))
    page.emulate_media(color_scheme=scheme)
    for opened in (False, True):
        if opened:
            unfold(page)
            page.locator("#ledger .open").evaluate_all("all => all.forEach(button => button.click())")
            page.evaluate("scrollTo(0, 0)")
        found = axe.run(page).response["violations"]
        assert [(v["id"], v["impact"], [n["html"][:200] for n in v["nodes"]][:3]) for v in found] == []


@pytest.mark.parametrize("width", [320, 400, 700, 1100, 1400])
def test_no_width_scrolls_sideways(page, width):
    page.set_viewport_size(dict(width=width, height=800))
    unfold(page)
    page.locator("#ledger .open").evaluate_all("all => all.forEach(button => button.click())")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_print_keeps_the_ledger_and_drops_the_tools(page):
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible() and not page.get_by_role("searchbox").is_visible() and page.locator("#ledger").is_visible()


def test_screenshots_for_whoever_looks(page, tmp_path):
    folder = os.environ.get("SYMBREAK_SCREENSHOTS") or tmp_path
    for name, width, scheme in (("desktop", 1400, "light"), ("mobile", 400, "light"), ("dark", 1400, "dark")):
        page.set_viewport_size(dict(width=width, height=900))
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=Path(folder)/f"report_{name}.png", full_page=True)
        assert (Path(folder)/f"report_{name}.png").stat().st_size > 20_000
