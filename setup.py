"Packaging, read from settings.ini; notebooks, reference results and the list of claims travel inside the wheel."
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
settings = ConfigParser(delimiters=["="])
settings.read(ROOT/"settings.ini", encoding="utf-8")
cfg = settings["DEFAULT"]


def tree(folder: str, package: str, endings: tuple) -> tuple[dict, dict]:
    "Map a folder of plain files, and its subfolders, to a package of data files."
    folders = [ROOT/folder, *(p for p in sorted((ROOT/folder).rglob("*")) if p.is_dir() and not p.name.startswith("."))]
    places = {p: p.relative_to(ROOT).as_posix() for p in folders if any(f.suffix in endings for f in p.iterdir())}
    names = {".".join([package, *p.relative_to(ROOT/folder).parts]): path for p, path in places.items()}
    return names, {name: [f"*{e}" for e in endings] for name in names}


def extras() -> dict[str, list[str]]:
    "Requirements of each extra: `all` is what the sections can use, `dev` adds the site and the tools that check them."
    found = {k.removesuffix("_requirements"): v.split() for k, v in cfg.items() if k.endswith("_requirements")}
    found["all"] = sorted({need for name in found if name not in ("dev", "site", "pretrained") for need in found[name]})
    return found | dict(dev=found["dev"] + found["site"] + found["all"])


notebooks, notebook_files = tree("nbs", "symbreak_nb.notebooks", (".ipynb",))
reference, reference_files = tree("reference", "symbreak_nb.reference", (".json", ".sha256"))
listed, listed_files = tree("docs", "symbreak_nb.docs", (".csv",))   # what the papers claim, for the report
setup(
    name=cfg["lib_name"], version=cfg["version"], description=cfg["description"], license="Apache-2.0",
    author=cfg["author"], keywords=cfg["keywords"].split(),
    long_description=(ROOT/"README.md").read_text(encoding="utf-8"), long_description_content_type="text/markdown",
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require=extras(),
    packages=["symbreak_nb", *notebooks, *reference, *listed], package_dir={**notebooks, **reference, **listed},
    package_data={"symbreak_nb": ["templates/*", "py.typed"], **notebook_files, **reference_files, **listed_files},
    entry_points={"console_scripts": cfg["console_scripts"].split()}, zip_safe=False,
    classifiers=[*(f"Programming Language :: Python :: {v}" for v in ("3", "3.11", "3.12", "3.13")),
                 "Topic :: Scientific/Engineering :: Artificial Intelligence",
                 "Intended Audience :: Science/Research"],
)
