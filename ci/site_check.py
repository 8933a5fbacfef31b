"""Check the pages of a built site without a network: where links lead, and what pages load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["find_faults"]

# Attributes that load a file when the page is viewed; those of <a> only when they are clicked.
LOADING = {
    ("audio", "src"), ("embed", "src"), ("iframe", "src"), ("img", "src"), ("img", "srcset"),
    ("link", "href"), ("object", "data"), ("script", "src"), ("source", "src"), ("video", "src"),
}  # fmt: skip
# Relations of <link> that name a page, but do not load it.
ONLY_NAMED = {"canonical", "index", "search", "next", "prev", "author", "license"}
STYLE_LOADING = re.compile(r"@import\s+['\"]?([^'\";]+)|url\(\s*['\"]?([^'\")]+)")


class Page(HTMLParser):
    """The anchors and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note the anchor and the links of an element."""
        values = {name: value or "" for name, value in attributes}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self._in_style = tag == "style"
        self.loaded += style_links(values.get("style", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        for name, value in values.items():
            if (tag, name) in LOADING:
                named = tag == "link" and values.get("rel") in ONLY_NAMED
                (self.links if named else self.loaded).append(value)

    def handle_data(self, data: str) -> None:
        """Note what a style sheet in the page loads."""
        if self._in_style:
            self.loaded += style_links(data)


def style_links(style: str) -> list[str]:
    """Return the URLs that a style sheet loads, without those that hold their data."""
    found = ("".join(match) for match in STYLE_LOADING.findall(style))
    return [url for url in found if not url.startswith(("data:", "#"))]


def is_external(link: str) -> bool:
    """Return True if a link leaves the site."""
    parts = urlsplit(link)
    return bool(parts.scheme or parts.netloc)


def fault_of_url(link: str) -> str | None:
    """Return what is wrong with a URL by its form; nothing is asked for."""
    parts = urlsplit(link)
    if parts.scheme == "mailto":
        return None if "@" in parts.path else "is not an address"
    if parts.scheme not in ("https", "http"):
        return "has no scheme of the web"
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc):
        return "has no host name"
    return "contains blanks" if re.search(r"\s", link) else None


def find_faults(site: Path) -> list[str]:
    """Return a sentence for each link without a target and each file loaded from elsewhere.

    Parameters
    ----------
    site : Path
        The folder with the pages.

    Returns
    -------
    list of str
    """
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    faults = [fault for path in pages for fault in faults_of_page(site, path, pages)]
    for path in sorted(site.rglob("*.css")):
        for link in style_links(path.read_text("utf-8")):
            fault = fault_of_file(path, link)
            faults += [f"{path.relative_to(site)}: {link} {fault}"] if fault else []
    return faults


def fault_of_file(path: Path, link: str) -> str | None:
    """Return what is wrong with a file that a page or a style sheet loads."""
    if link.startswith("data:"):
        return None
    if is_external(link):
        return "is loaded from elsewhere"
    target = path.parent / unquote(urlsplit(link).path)
    return None if target.is_file() else "does not exist"


def faults_of_page(site: Path, path: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Yield a sentence for each fault of a page."""
    page = pages[path]
    for link in page.loaded:
        if fault := fault_of_file(path, link):
            yield f"{path.relative_to(site)}: {link} {fault}"
    for link in page.links:
        if is_external(link):
            fault = fault_of_url(link)
        else:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            found = pages.get(target)
            fault = None if target.is_file() else "does not exist"
            if found and parts.fragment and unquote(parts.fragment) not in found.anchors:
                fault = "has no such anchor"
        if fault:
            yield f"{path.relative_to(site)}: {link} {fault}"
