"""Links, anchors and paths on the Markdown pages lead to something that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "docs", "docs/agents", "docs/benchmarks", "docs/reference", "examples", "results", "rl_lab/demo")
PAGES = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.md"))]
PAGE_NAME = re.compile(r"\b(?:docs/[\w/-]+|BENCHMARKS|LOG|README)\.md\b")
CODE_BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page: one for each heading, formed as GitHub does.

    GitHub keeps letters, digits, spaces, underscores and hyphens, in lower case, and replaces each space by a hyphen.
    A heading that occurs again has a number at its end.
    """
    found: set[str] = set()
    for title in re.findall(r"^#+ (.*)$", CODE_BLOCK.sub("", text), re.MULTILINE):
        visible = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", visible.strip().lower()).replace(" ", "-")
        count = 0
        while (numbered := f"{anchor}-{count}" if count else anchor) in found:
            count += 1
        found.add(numbered)
    return found


def broken_links(page: Path) -> list[str]:
    """Return the links of a page whose file or anchor does not exist. Links to other sites are not checked."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", CODE_BLOCK.sub("", page.read_text())):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_anchors_of_pages_exist(page):
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_on_pages_exist(page):
    paths = re.findall(
        r"`((?:agents|envs|rl_lab|tests|scripts|docs|examples|configs|results)/[\w./-]+)`", page.read_text()
    )
    assert [
        path for path in paths if not {"AGENT", "NAME"} & set(re.split(r"\W", path)) and not (ROOT / path).exists()
    ] == []


@pytest.mark.parametrize("folder", ["agents", "envs", "rl_lab", "scripts", "configs"])
def test_pages_that_the_code_names_exist(folder):
    sources = [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.yaml")]
    named = {name for source in sources for name in PAGE_NAME.findall(source.read_text())}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_benchmarks_page_links_to_every_page_of_results():
    links = set(re.findall(r"\]\((docs/benchmarks/[\w-]+\.md)\)", (ROOT / "BENCHMARKS.md").read_text()))
    assert links == {str(path.relative_to(ROOT)) for path in (ROOT / "docs/benchmarks").glob("*.md")}


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# Top\n\n## `watch`, and what a `look` costs\n\n## Top\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n[good](other.md#watch-and-what-a-look-costs) [good](other.md#top-1) [good](#page)\n"
        "[bad](other.md#watch) [bad](missing.md) [bad](#top) [elsewhere](https://example.org/#x)\n"
    )
    assert broken_links(page) == ["other.md#watch", "missing.md", "#top"]
