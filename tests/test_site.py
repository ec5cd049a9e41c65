"The site: it builds without network and without a warning, every link leads somewhere, nothing is loaded from elsewhere."
import importlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
FROM_AFAR = re.compile(r"(?:https?:)?//")
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("img", "srcset"),
          ("source", "srcset"), ("object", "data"), ("embed", "src"), ("form", "action"), ("video", "poster")}


class Page(HTMLParser):
    "What a page links to, what it loads, the names of its places, its pictures with their words, and its code."

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.loads, self.places, self.code, self._inside = [], [], set(), [], 0
        self.pictures: list[tuple[str, str | None]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = {k: v for k, v in attrs if v}
        self.places |= {found[k] for k in ("id", "name") if k in found}
        for name, value in found.items():
            if (tag, name) in LOADED: self.loads.append(value)
            elif (tag, name) == ("a", "href"): self.links.append(value)
        if tag == "img": self.pictures.append((found.get("src", "")[:80], found.get("alt")))
        if tag == "pre": self._inside += 1; self.code.append("")

    def handle_endtag(self, tag):
        if tag == "pre": self._inside -= 1

    def handle_data(self, data):
        if self._inside: self.code[-1] += data


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    "The whole site, built as `make site` does, without network."
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, ROOT/"tools"/"website.py", "--out", out, "--jobs", "1"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | NO_NETWORK)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return out/"html"


@pytest.fixture(scope="session")
def pages(site) -> dict[Path, Page]:
    "Every page; what the theme keeps beside its styles is a template."
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts}


def test_every_notebook_module_howto_picture_and_claim_is_there(site, pages):
    for path in (ROOT/"nbs").glob("*.ipynb"): assert site/"nbs"/f"{path.stem}.html" in pages
    for path in (ROOT/"docs").rglob("*.md"):
        if path.parent.name != "site": assert (site/path.relative_to(ROOT)).with_suffix(".html") in pages
    shown = {Path(unquote(link)).name for link in pages[site/"gallery.html"].loads}
    assert {p.name for p in (ROOT/"reference").rglob("*.png")} <= shown
    rows = [row["id"] for p in (ROOT/"reference").glob("*/quick/metrics.json") for row in json.loads(p.read_text())["claims"]]
    assert set(rows) <= pages[site/"CLAIMS.html"].places
    assert not re.findall(r"\{\{\w+\}\}", (site/"index.html").read_text())


def test_every_public_name_is_documented(site, pages):
    for path in (ROOT/"symbreak_nb").glob("*.py"):
        if path.stem in ("__init__", "_modidx"): continue
        module, places = importlib.import_module(f"symbreak_nb.{path.stem}"), pages[site/"api"/f"{path.stem}.html"].places
        for name in module.__all__:
            home = getattr(getattr(module, name), "__module__", module.__name__) if callable(getattr(module, name)) else module.__name__
            if name in ("PARAMETERS", "CLAIMS") or name.startswith("_") or home != module.__name__: continue
            assert f"{module.__name__}.{name}" in places, f"{path.stem}.{name} is not on the site"


def test_every_link_and_every_anchor_leads_somewhere(site, pages):
    dead = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc: continue
            target = (path.parent/unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir(): target = target/"index.html"
            if not target.is_file(): dead.append(f"{path.relative_to(site)}: {link}"); continue
            if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                dead.append(f"{path.relative_to(site)}: {link} (no such place)")
    assert not dead, dead[:20]


def test_nothing_is_loaded_from_elsewhere(site, pages):
    "Neither by a page nor by a style; a link to a paper is no load."
    for path, page in pages.items(): assert not [link for link in page.loads if FROM_AFAR.match(link)], path
    for path in site.rglob("*.css"):
        asked = re.findall(r"url\(\s*[\"']?([^)\"']+)|@import\s+[\"']([^\"']+)", path.read_text(errors="replace"))
        for target in ("".join(pair) for pair in asked):
            assert not FROM_AFAR.match(target), f"{path}: {target}"
            if not target.startswith(("data:", "#")): assert (path.parent/re.split(r"[?#]", target)[0]).is_file(), f"{path}: {target}"
    assert len(list((site/"_static"/"mathjax").rglob("*.woff"))) > 20


def test_no_directive_of_the_notebooks_shows(site, pages):
    shown = [code for path, page in pages.items() if path.parent == site/"nbs" for code in page.code]
    assert len(shown) > 1000 and not [code for code in shown if re.search(r"^\s*#\|", code, re.MULTILINE)]


@pytest.fixture
def opened(chromium, site):
    "Opens pages; at the end, whatever was asked for lay on this disk and no script failed."
    context, asked, faults = chromium.new_context(viewport=dict(width=1280, height=900)), [], []
    context.set_default_timeout(120_000)

    def at(place: str, width: int = 1280):
        page = context.new_page()
        page.set_viewport_size(dict(width=width, height=900))
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: faults.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.goto(f"{site.as_uri()}/{place}")
        return page

    yield at
    context.close()
    assert asked and not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] and not faults


def test_maths_is_set_with_the_fonts_of_the_site(opened):
    page = opened("nbs/40_symmetries.html")
    page.wait_for_selector("mjx-container", state="attached")
    page.wait_for_function("document.querySelectorAll('mjx-container').length > 3 && document.fonts.status === 'loaded'")
    assert page.locator("mjx-merror").count() == 0
    assert page.evaluate("[...document.fonts].some(f => f.family.startsWith('MJXTEX') && f.status === 'loaded')")


ON_A_PHONE = ("index.html", "gallery.html", "CLAIMS.html", "sections.html", "nbs/10_ising.html", "docs/howto/symmetries.html",
              "api/index.html", "api/replicas.html", "docs/design.html", "docs/performance.html")


@pytest.mark.parametrize("place", ON_A_PHONE)
def test_a_page_fits_a_phone_and_shows_its_pictures(opened, place):
    page = opened(place, width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator("h1").first.is_visible()
    images = page.locator("article img")
    for i in range(min(images.count(), 3)): images.nth(i).scroll_into_view_if_needed()
    assert all(page.locator("article img").evaluate_all("all => all.slice(0, 3).map(i => i.complete && i.naturalWidth > 50)"))


TO_READ = ("index.html", "gallery.html", "CLAIMS.html", "sections.html", "nbs/10_ising.html", "nbs/17_explorer.html",
           "docs/howto/symmetries.html", "api/replicas.html", "docs/design.html", "more.html")


@pytest.mark.parametrize("width, scheme", [(1400, "light"), (400, "dark")])
@pytest.mark.parametrize("place", TO_READ)
def test_axe_finds_nothing_serious(opened, place, width, scheme):
    "A reader with a keyboard, a screen reader or weak eyes meets no obstacle, in the light and in the dark."
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(place, width)
    page.evaluate("scheme => { document.documentElement.dataset.mode = document.documentElement.dataset.theme = scheme; }", scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.wait_for_timeout(300)   # colours fade
    found = axe.run(page, options=dict(preload=False)).response["violations"]   # it would fetch styles, which a file may not
    grave = [(v["id"], v["impact"], len(v["nodes"]), [n["html"][:200] for n in v["nodes"]][:3]) for v in found
             if v["impact"] in ("serious", "critical")]
    assert grave == []


def test_every_picture_says_what_it_shows(site, pages):
    "Of the article, also those that a cell has drawn; none has the name of its file for words."
    for path, page in pages.items():
        for source, words in page.pictures:
            assert words and len(words) > 10 and not re.search(r"\.(png|svg|webp)$", words), (path, source, words)


def test_the_keyboard_leads_to_the_article_the_search_and_the_filters(opened):
    page = opened("CLAIMS.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Skip to main content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id || location.hash").lstrip("#") == "main-content"
    page.get_by_label("Words").focus()
    page.keyboard.type("landscape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "paper"
    row = page.locator("table.claims tbody tr:not([hidden])")
    assert row.count() >= 1
    row.first.locator("summary").focus()
    page.keyboard.press("Enter")
    assert row.first.locator("details").evaluate("d => d.open")
    page.keyboard.press("Control+k")
    page.wait_for_function("document.activeElement.type === 'search'")


@pytest.mark.parametrize("place", ["nbs/index.html", "nbs/17_explorer.html"])
def test_a_slider_moves_its_picture_on_the_site(opened, place):
    "Without a kernel: each slider, by its keys."
    page = opened(place)
    picture = page.locator(".symbreak-sliders").first
    drawn = lambda: (picture.locator("canvas").evaluate("c => c.toDataURL()"), picture.get_by_role("status").inner_text())
    assert picture.get_by_role("slider").count() == 2
    for slider in picture.get_by_role("slider").all():
        slider.focus()
        page.keyboard.press("Home")
        before = drawn()
        page.keyboard.press("End")
        assert all(a != b for a, b in zip(before, drawn(), strict=True))


def test_claims_are_filtered_and_a_link_leads_to_one(opened):
    page = opened("CLAIMS.html")
    shown = page.locator("table.claims tbody tr:not([hidden])")
    some = shown.count()
    page.get_by_label("Kind").select_option("")
    assert shown.count() > some > 0
    page.get_by_label("Verdict").select_option("fails")
    assert set(shown.evaluate_all("rows => rows.map(r => r.querySelector('.verdict').textContent)")) == {"fails"}
    page.get_by_label("Words").fill("no such words anywhere")
    assert shown.count() == 0 and page.locator(".claims-filter output").inner_text().startswith("0 of")
    one = opened("CLAIMS.html#zhang.ising.too_large")
    assert one.locator("tr:target").is_visible()


def test_the_search_finds_a_public_name(opened):
    page = opened("search.html?q=symmetry_report")
    page.wait_for_selector("#search-results li a")
    assert "symmetr" in page.locator("#search-results").inner_text()


def test_screenshots_for_whoever_looks(opened, tmp_path):
    folder = Path(os.environ.get("SYMBREAK_SCREENSHOTS") or tmp_path)
    for place in ("index", "gallery", "CLAIMS", "sections", "nbs/10_ising", "docs/howto/symmetries", "api/index", "api/replicas"):
        for width in (1400, 400):
            name = folder/f"site_{place.replace('/', '_')}_{width}.png"
            opened(f"{place}.html", width).screenshot(path=name)
            assert name.stat().st_size > 10_000
