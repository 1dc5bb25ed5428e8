"""mkdocs hook: files outside docs/ that a page links to become pages of the site, below repository/.

So that one relative link is right on GitHub and on the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS, OUTSIDE = "docs", "repository"
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
FENCES = {".yaml": "yaml", ".xml": "xml", ".py": "python", ".toml": "toml", ".msg": "text"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, and whatever the pages link to."""
    root = Path(config.config_file_path).parent
    waiting = ["README.md"]
    for file in files.documentation_pages():
        waiting += _links(f"{DOCS}/{file.src_uri}", file.content_string)
    while waiting:
        path = waiting.pop()
        if _is_inside(path) or files.get_file_from_path(_page(path)) is not None:
            continue
        content = (root / path).read_text(encoding="utf-8")
        if path.endswith(".md"):
            waiting += _links(path, content)
        else:
            content = f"# {path}\n\n```{FENCES[Path(path).suffix]}\n{content.rstrip()}\n```\n"
        files.append(File.generated(config, _page(path), content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page that leave docs/, or lie outside, to pages of the site."""
    here = page.file.src_uri
    source = here.removeprefix(f"{OUTSIDE}/") if here.startswith(f"{OUTSIDE}/") else f"{DOCS}/{here}"

    def target(link: re.Match[str]) -> str:
        path = _resolved(source, link[1])
        if source.startswith(f"{DOCS}/") and _is_inside(path):
            return link[1]
        return posixpath.relpath(_page(path), posixpath.dirname(here) or ".")

    return LINK.sub(target, markdown)


def _links(page: str, content: str) -> list[str]:
    """Return the paths in the repository that a page at a path links to."""
    return [_resolved(page, link) for link in LINK.findall(content)]


def _resolved(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _is_inside(path: str) -> bool:
    return path.startswith(f"{DOCS}/")


def _page(path: str) -> str:
    """Return where the site has a file of the repository."""
    if _is_inside(path):
        return path.removeprefix(f"{DOCS}/")
    return f"{OUTSIDE}/{path}" if path.endswith(".md") else f"{OUTSIDE}/{path}.md"
