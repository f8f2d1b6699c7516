"""HTML pages that need no other file, no script and no network: style, template and embedded pictures."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #626a73; --line: #d9dde2; --paper: #fff; --panel: #f5f6f8;
        --best: #0b6e3f; --warn: #9a5b00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa3ad; --line: #343a41; --paper: #15181c; --panel: #1e2227; --best: #63d297;
          --warn: #e3aa55; }
}
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 84rem; color: var(--ink); background: var(--paper);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.75rem; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p, dd { color: var(--soft); margin: .25rem 0; }
code { font-size: .9em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .45rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
         font-variant-numeric: tabular-nums; }
th { font-weight: 600; }
th:first-child { text-align: left; }
tbody th { font-weight: 400; white-space: normal; min-width: 16rem; }
tbody th small { display: block; color: var(--soft); }
.unit { color: var(--soft); font-size: .8em; }
td.best { color: var(--best); font-weight: 600; }
td.missing { color: var(--warn); }
.photographs { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(25rem, 100%), 1fr)); }
figure { margin: 0; padding: .75rem; background: var(--panel); border-radius: .5rem; }
.row { display: flex; gap: .4rem; }
.row div { flex: 1; min-width: 0; }
.row img { width: 100%; display: block; border-radius: .25rem; }
.row span { display: block; font-size: .75rem; color: var(--soft); }
figcaption { margin-top: .4rem; font-size: .8rem; color: var(--soft); overflow-wrap: anywhere; }
.wide { width: 100%; }
.curves { width: 100%; background: #fff; border-radius: .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; text-transform: capitalize; }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin-left: 0; overflow-wrap: anywhere; }
pre { background: var(--panel); padding: 1rem; border-radius: .5rem; overflow-x: auto; font-size: .8rem; }
summary { cursor: pointer; }
"""


def render(template: Path, **values: Any) -> str:
    """Renders a template with `style` and the filter `picture`, for (H, W, 3) uint8 arrays; escapes values."""
    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["picture"] = _picture
    return environment.get_template(template.name).render(style=STYLE, **values)


def uri(kind: str, content: bytes) -> str:
    """Returns a file as a data URI.

    Args:
        kind: media type.
        content: of the file.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _picture(pixels: NDArray[np.uint8]) -> str:
    """Returns (H, W, 3) uint8 sRGB as the data URI of a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92, subsampling=0)  # full-size chroma: the page is about colors
    return uri("image/jpeg", file.getvalue())
