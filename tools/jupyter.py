"""How `make lab` starts JupyterLab: at the root of the checkout, and with notebooks cleaned as they are saved.

    jupyter lab --config=tools/jupyter.py nbs/index.ipynb

A saved notebook differs from the committed one in its outputs alone: what a run adds beside them goes, as in `make export`.
"""
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbdev.clean import clean_nb
from nbdev.config import get_config as settings_of

ROOT = Path(__file__).resolve().parent.parent


def clean(model: Mapping[str, Any], **_: Any) -> None:
    "Drop counts, kernel and viewer from a notebook that is about to be saved, as the settings of the project say."
    if model["type"] != "notebook" or model["content"]["nbformat"] != 4: return
    kept = settings_of(path=ROOT)
    clean_nb(model["content"], allowed_metadata_keys=kept.allowed_metadata_keys.split(),
             allowed_cell_metadata_keys=kept.allowed_cell_metadata_keys.split(), clean_ids=kept.clean_ids)


if "get_config" in globals():   # given by the server that reads this file
    c = globals()["get_config"]()
    c.ServerApp.root_dir = str(ROOT)   # pictures and pages beside nbs/ open too
    c.ServerApp.allow_root = getattr(os, "getuid", lambda: 1)() == 0
    c.ContentsManager.pre_save_hook = clean
