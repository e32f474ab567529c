"""What mkdocs does beside its own work for the documentation site (mkdocs.yml).

- A link out of docs/ leads to a page of the site: repository/PATH for a Markdown file, repository/PATH.md with the
  source for any other file. So the same links work on the site and in the repository.
- Notebooks of examples/ become pages below "Tutorials".
- Equations between dollar signs become MathML, which browsers draw without JavaScript.
"""

from __future__ import annotations

import base64
import html
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "repository"
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
STRETCHED = re.compile(r"\\(?:left|right)\b")
"""Parentheses that grow. Without a font for mathematics browsers draw them too tall."""
PRIME = re.compile(r"<msup>(<mi>\w+</mi>)<m[io]>&#x02032;</m[io]></msup>")
"""A prime as a superscript. Fonts draw it raised already, so browsers would draw it too small and too high."""
LOGARITHM = '<mo lspace="0.17em" rspace="0.17em">log</mo>'
LOW_RANK = 0.1
"""Factor on the rank of the API reference, of sources and of results in the search."""
PAGES = ("BENCHMARKS.md", "LOG.md", "CONTRIBUTING.md", "CHANGELOG.md", "README.md", "examples/README.md")
INDEXES = {"docs/benchmarks": "BENCHMARKS.md", "docs/agents": "docs/agents/index.md"}
"""The page that lists those of a folder of docs/."""
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the notebooks to the navigation."""
    assert config.nav is not None
    for entry in config.nav:
        if "Tutorials" in entry:
            entry["Tutorials"] += [{_title_of_notebook(path): f"tutorials/{path.stem}.md"} for path in notebooks()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository that other pages link to, and the notebooks."""
    found: set[str] = set()
    waiting = list(PAGES)
    for file in files.documentation_pages():
        waiting += _outside(file.src_uri, file.content_string)
    for path in notebooks():
        waiting += _outside(f"tutorials/{path.stem}.md", str(notebook_files(path)[f"{path.stem}.md"]))
    while waiting:
        path = waiting.pop()
        if path in found or path.endswith((".ipynb", ".png")):
            continue
        found.add(path)
        text = _text_of(path)
        files.append(File.generated(config, page_of(path), content=text))
        if path.endswith(".md"):
            waiting += _outside(page_of(path), text)
    for path in notebooks():
        for name, content in notebook_files(path).items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files outside docs/ into links to their pages. Rank guides before signatures and sources."""
    if page.file.src_uri.startswith(("reference/", f"{FOLDER}/")):
        page.meta.setdefault("search", {"boost": LOW_RANK})
    return _outside_of_code(markdown, lambda text: LINK.sub(lambda match: _rewritten(match, page.file.src_uri), text))


def on_page_content(html_text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn equations into MathML."""
    return with_mathml(html_text)


def with_mathml(html_text: str) -> str:
    """Return the HTML of a page with MathML in place of its LaTeX."""

    def mathml(match: re.Match[str]) -> str:
        display = "block" if match[1] == "div" else "inline"
        latex = STRETCHED.sub("", html.unescape(match[2]))
        text = convert(latex, display=display).replace("<mi>log</mi>", LOGARITHM)
        return PRIME.sub(r"<mrow>\1<mo lspace='0' rspace='0'>&#x2032;</mo></mrow>", text)

    return EQUATION.sub(mathml, html_text)


def page_of(path: str) -> str:
    """Return the page of a file or folder of the repository: repository/agents/dqn.py.md for `agents/dqn.py`."""
    path = INDEXES.get(path, path)
    if path.endswith(".ipynb"):
        return f"tutorials/{Path(path).stem}.md"
    if path.startswith("examples/") and path.endswith(".png"):  # an output of a notebook
        return f"tutorials/{Path(path).name}"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        path = posixpath.join(path, "README.md") if (ROOT / path / "README.md").exists() else f"{path}.folder"
    return f"{FOLDER}/{path}" if path.endswith(".md") else f"{FOLDER}/{path}.md"


def notebooks() -> list[Path]:
    """Return the notebooks of examples/."""
    return sorted((ROOT / "examples").glob("*.ipynb"))


def notebook_files(path: Path) -> dict[str, str | bytes]:
    """Return the page of a notebook and its pictures, by file name."""
    files: dict[str, str | bytes] = {}
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(f"```python\n{source}\n```")
            parts += [_output_text(output, path.stem, files) for output in cell["outputs"]]
    files[f"{path.stem}.md"] = "\n\n".join(part for part in parts if part) + "\n"
    return files


def _output_text(output: dict[str, Any], stem: str, files: dict[str, str | bytes]) -> str:
    """Return the Markdown of a cell's output. A picture is added to `files`."""
    if output["output_type"] == "stream":
        return _fenced("".join(output["text"]))
    data = output.get("data", {})
    if "image/png" in data:
        name = f"{stem}-{len(files) + 1}.png"
        files[name] = base64.b64decode("".join(data["image/png"]))
        return f"![output]({name})"
    return _fenced("".join(data.get("text/plain", "")))


def _fenced(text: str) -> str:
    """Return text as a block of code, or nothing for empty text."""
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def _title_of_notebook(path: Path) -> str:
    """Return the first heading of a notebook, or its file name."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        heading = re.match(r"#\s+(.+)", "".join(cell["source"])) if cell["cell_type"] == "markdown" else None
        if heading:
            return heading[1].strip()
    return path.stem


def _text_of(path: str) -> str:
    """Return the Markdown of the page of a file or folder. Raises PluginError if it does not exist."""
    file = ROOT / path
    if file.is_dir() and (file / "README.md").exists():
        file = file / "README.md"
    if file.is_dir():
        names = sorted(child.name for child in file.iterdir() if not child.name.startswith(("_", ".")))
        return f"# {path}\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n"
    if not file.exists():
        raise PluginError(f"a page links to {path}, which does not exist")
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return text
    return f"# {path}\n\n```{LANGUAGES.get(file.suffix, 'text')}\n{text}\n```\n"


def _origin(page: str) -> str:
    """Return the folder in the repository of the file of a page."""
    if page.startswith("tutorials/"):
        return "examples"
    if page.startswith(f"{FOLDER}/"):
        return posixpath.dirname(page.removeprefix(f"{FOLDER}/"))
    return posixpath.dirname(f"docs/{page}")


def _target(link: str, page: str) -> str | None:
    """Return the path in the repository that a relative link names, or None for an address."""
    if re.match(r"[a-z]+:|/", link):
        return None
    return posixpath.normpath(posixpath.join(_origin(page), link))


def _outside(page: str, text: str) -> list[str]:
    """Return the paths outside docs/ that a page links to."""
    found = []

    def collect(part: str) -> str:
        found.extend(_target(match[2], page) for match in LINK.finditer(part))
        return part

    _outside_of_code(text, collect)
    return [path for path in found if path and not path.startswith("docs/")]


def _rewritten(match: re.Match[str], page: str) -> str:
    """Return a link as it stands on the site."""
    path = _target(match[2], page)
    if path is None:
        return match[0]
    relative = posixpath.relpath(page_of(path), posixpath.dirname(page) or ".")
    return f"{match[1]}{relative}{match[3]}"


def _outside_of_code(text: str, change: Any) -> str:
    """Return a text whose parts outside of fenced code are changed by a function."""
    parts = []
    end = 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])
