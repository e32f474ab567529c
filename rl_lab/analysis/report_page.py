"""The page of the command `look`: every image with a title, a caption and the scale of its colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from rl_lab.watch.images import Color

STYLE = """
  :root { color-scheme: dark }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em;
         color: #e1e4e8; background: #181a1f; overflow-wrap: break-word }
  figure { margin: 2.5em 0 }
  figcaption { max-width: 45em; margin-bottom: .6em }
  .images { overflow-x: auto }
  img { display: block; max-width: 100%; height: auto; image-rendering: pixelated }
  .facts, .scale { color: #9aa3b0 }
  .scale { display: flex; flex-wrap: wrap; align-items: center; gap: .6em; margin: .4em 0 }
  .colors { width: 10em; height: .9em; border: 1px solid #464c57 }
  a { color: inherit }
"""


class ColorScale(NamedTuple):
    """What the colours of an image mean."""

    low: str  # the value of the first colour
    high: str  # the value of the last colour
    colors: tuple[Color, ...]  # evenly spaced from `low` to `high`
    note: str  # how values are scaled, and the size of a value in the image


class ReportFigure(NamedTuple):
    """One image of the page."""

    file: str  # name of the PNG file, in the folder of the page
    title: str
    caption: str
    scale: ColorScale


def report_page(title: str, facts: Sequence[str], figures: Sequence[ReportFigure]) -> str:
    """Return the HTML of the page.

    Args:
        title: Agent and environment.
        facts: Lines below the title, such as the game that was played.
        figures: The images, in their order on the page.
    """
    fact_lines = "<br>\n".join(escape(fact) for fact in facts)
    contents = "\n".join(f'<li><a href="#{escape(figure.file)}">{escape(figure.title)}</a></li>' for figure in figures)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
<h1>{escape(title)}</h1>
<p class="facts">{fact_lines}</p>
<ol>
{contents}
</ol>
{"".join(map(_figure_html, figures))}</html>
"""


def _figure_html(figure: ReportFigure) -> str:
    """Return the HTML of one image with its texts."""
    file = escape(figure.file)
    gradient = ", ".join(f"rgb{color}" for color in figure.scale.colors)
    return f"""<figure id="{file}">
<h2>{escape(figure.title)}</h2>
<figcaption>{escape(figure.caption)}
<div class="scale"><span>{escape(figure.scale.low)}</span>
<span class="colors" style="background: linear-gradient(to right, {gradient})"></span>
<span>{escape(figure.scale.high)}</span></div>
<div class="scale">{escape(figure.scale.note)}</div>
</figcaption>
<div class="images"><a href="{file}"><img src="{file}" alt="{escape(figure.title)}"></a></div>
</figure>
"""
