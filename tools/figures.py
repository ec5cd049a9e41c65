"""List what a reader would stumble over in the figures of a results folder; exit status 1 if there is anything.

    python tools/figures.py RESULTS_DIR      # a folder of `symbreak figures`, or reference/
"""
import json
import sys
from collections.abc import Iterable
from pathlib import Path


def faults(folder: Path) -> Iterable[str]:
    "A line a fault of every figure whose run measured them."
    for path in sorted(folder.rglob("metrics.json")):
        if "earlier" in path.relative_to(folder).parts: continue
        for figure in json.loads(path.read_text()).get("figures") or []:
            for fault in figure.get("faults") or []: yield f"{path.parent.relative_to(folder)}: {figure['name']}: {fault}"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_dir(): sys.exit(__doc__)
    found = list(faults(Path(arguments[0])))
    print("\n".join(found) or "no faults")
    return int(bool(found))


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
