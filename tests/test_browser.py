"The report in a real Chromium: it loads alone, sorts, filters, and fits a phone."
import os
import shutil
from pathlib import Path

import pytest
from symbreak_nb.claims import Claim
from symbreak_nb.report import write_report
from symbreak_nb.run import Declaration, Estimate, Run

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")) if p), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no system chromium on this machine")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run",
         "--disable-quic"]
WIDE = "A sentence that is long enough to wrap on a phone, with a_name_without_any_place_to_break_it_" + "x"*80


@pytest.fixture(scope="module")
def page_url(tmp_path_factory):
    "A report of two sections with real figures, three verdicts, and one broken section."
    import matplotlib.pyplot as plt
    root = tmp_path_factory.mktemp("browser")/"results"
    for name, paper, values in (("wells", "fok2017", (10, -3, 2.5)), ("walls", "iqbal2025", (100, 7, 0))):
        run = Run(Declaration(name), dict(profile="smoke", device="cpu", out_dir=root/name))
        for i, size in enumerate(((4, 3), (9, 3))):
            fig, ax = plt.subplots(figsize=size, layout="constrained")
            ax.plot(range(5))
            run.figure(fig, f"{name}_fig0{i}", WIDE)
        for i, value in enumerate(values):
            rule = ("value > 0", "value > 0", "value > 0 with 95% interval")[i]
            claim = Claim(f"{name}.claim_{i}", paper, f"Fig. {i}", f"{WIDE} {i}", rule)
            run.decide(claim, Estimate(value, (value - 3, value + 3), 5))
        run.metric("x", 1.0)
        run.finish()
    (root/"cut").mkdir()
    (root/"cut"/"metrics.json").write_text("{")
    shutil.copytree(root/"wells", root.parent/"reference"/"wells"/"smoke")
    return write_report(root, root.parent/"reference").as_uri()


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


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
    "What a column of the shown rows is sorted by."
    cells = page.locator(f"#ledger tbody tr:not([hidden]) td:nth-child({number})")
    return cells.evaluate_all("cells => cells.map(cell => cell.dataset.sort)")


def test_the_page_is_one_file_and_every_picture_is_decoded(page, page_url):
    assert [url for url in page.asked if not url.startswith("data:")] == [page_url]
    widths = page.locator(".card img").evaluate_all("images => images.map(i => i.complete && i.naturalWidth)")
    assert len(widths) == 4 and min(widths) > 100
    assert all(page.locator(".card img").evaluate_all("images => images.map(i => i.alt.length > 10)"))
    assert page.locator(".card").first.is_visible() and page.get_by_text("could not be read").is_visible()


@pytest.mark.parametrize("name, number, key", [("Measured", 4, float), ("Verdict", 7, str), ("Claim", 2, str)])
def test_a_click_on_a_heading_sorts(page, name, number, key):
    head = page.locator("#ledger th", has_text=name)
    assert head.get_attribute("aria-sort") is None
    expected = sorted(before := column(page, number), key=key)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending" and column(page, number) == expected
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending" and column(page, number) == expected[::-1]
    assert name == "Claim" or before not in (expected, expected[::-1])
    assert page.locator("#ledger th[aria-sort]").count() == 1


def test_numbers_sort_as_numbers_from_the_keyboard(page):
    page.locator("#ledger th button", has_text="Measured").focus()
    page.keyboard.press("Enter")
    assert [float(v) for v in column(page, 4)] == [-3, 0, 2.5, 7, 10, 100]


def test_filters_combine_and_say_how_many_are_left(page):
    page.get_by_label("Filter the claims by verdict").select_option("holds")
    assert column(page, 7) == ["holds"]*3
    page.get_by_label("Filter the claims by paper").select_option("iqbal2025")
    assert page.locator("#shown").inner_text() == "2 of 6 claims"
    page.get_by_label("Filter the claims by words").fill("claim_1 WALLS")
    assert column(page, 4) == ["7"]
    page.get_by_label("Filter the claims by words").fill("nothing like this")
    assert page.locator("#shown").inner_text() == "0 of 6 claims"


def test_a_rule_opens_and_a_picture_is_enlarged(page):
    page.locator("#ledger summary").first.click()
    assert page.locator("#ledger details p").first.is_visible()
    page.locator(".card button").first.click()
    assert page.locator("dialog img").evaluate("i => i.naturalWidth") > 100
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


@pytest.mark.parametrize("width", [320, 400, 700, 1280])
def test_no_width_scrolls_sideways(page, width):
    page.set_viewport_size(dict(width=width, height=800))
    page.locator("details").evaluate_all("all => all.forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_and_print_keep_text_readable(page):
    contrast = """() => {
        const linear = x => x <= .04045 ? x/12.92 : ((x + .055)/1.055)**2.4;
        const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(x => linear(x/255));
                                  return .2126*r + .7152*g + .0722*b; };
        const ratio = (a, b) => (Math.max(a, b) + .05)/(Math.min(a, b) + .05);
        return [document.body, ...document.querySelectorAll('.badge.holds, .badge.fails, .badge.inconclusive')].map(e =>
            ratio(light(getComputedStyle(e).color), light(getComputedStyle(e).backgroundColor))); }"""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert min(page.evaluate(contrast)) > 4.5
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible() and page.locator("#ledger").is_visible()


def test_screenshots_for_whoever_looks(page, tmp_path):
    folder = os.environ.get("SYMBREAK_SCREENSHOTS") or tmp_path
    for name, width, scheme in (("desktop", 1280, "light"), ("mobile", 400, "light"), ("dark", 1280, "dark")):
        page.set_viewport_size(dict(width=width, height=900))
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=Path(folder)/f"report_{name}.png", full_page=True)
        assert (Path(folder)/f"report_{name}.png").stat().st_size > 20_000
