"""The French of the pages, as their scripts have it."""

from __future__ import annotations

import json
import re

from server import ROOT

STATIC = ROOT / "src" / "python_pubsub_server" / "web" / "static"
KEY = re.compile(r'^  ("(?:[^"\\]|\\.)*"):', re.MULTILINE)


def known_texts() -> set[str]:
    """Every English text that has a French one."""
    files = (STATIC / "french").glob("*.js")
    return {json.loads(key) for file in files for key in KEY.findall(file.read_text("utf-8"))}
