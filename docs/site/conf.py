"How Sphinx builds the site from the pages that tools/website.py gathers."
from configparser import ConfigParser
from pathlib import Path

settings = ConfigParser(delimiters=["="])
settings.read(Path(__file__).with_name("settings.ini"), encoding="utf-8")
cfg = settings["DEFAULT"]
project, author, release, copyright = cfg["title"], cfg["author"], cfg["version"], cfg["copyright"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "numpydoc",
              "sphinx_design", "sphinx_copybutton"]
exclude_patterns = ["_static", "static"]
default_role = "py:obj"

# Notebooks show their stored outputs; nothing is run, and no widget library is asked for.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
suppress_warnings = ["myst.header", "misc.highlighting_failure", "config.cache"]

# The interface as a user sees it: what a name does, takes, gives and raises; types stand in the text.
autosummary_generate = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False

# MathJax comes with the site.
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = dict(options=dict(enableMenu=False))

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = html_copy_source = False
html_context = dict(default_mode="light")
html_sidebars = {"index": [], "gallery": [], "CLAIMS": [], "docs/performance": []}
html_theme_options = dict(
    logo=dict(text=project), navbar_align="left", header_links_before_dropdown=8, icon_links=[], show_toc_level=1,
    show_nav_level=1, navigation_depth=2, footer_start=["copyright"], footer_end=[], search_bar_text="Search",
    secondary_sidebar_items=["page-toc"], pygments_light_style="a11y-light", pygments_dark_style="a11y-dark")


def norms_are_no_substitutions(app, what, name, obj, options, lines):
    "The |M| of a docstring is a norm; reStructuredText would look for a substitution. Examples stay as they are."
    end = lines.index("Examples") if "Examples" in lines else len(lines)
    lines[:end] = [line.replace("|", "\\|") for line in lines[:end]]


def setup(app): app.connect("autodoc-process-docstring", norms_are_no_substitutions, priority=100)
