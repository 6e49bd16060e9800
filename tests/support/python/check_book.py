"""Says which links of a built book lead nowhere: check_book.py FOLDER. Ends with 1 if any does."""

import pathlib
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]


def problem(path, link, pages):
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists():
        return "is not there"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "has no such anchor"
    return None


folder = pathlib.Path(sys.argv[1]).resolve()
# A server shows 404.html at any address; its links begin at the server's root.
pages = {path: Page(path) for path in folder.rglob("*.html") if path.name != "404.html"}
problems = [
    f"{path.relative_to(folder)}: {link} {what}"
    for path, page in pages.items()
    for link in page.links
    if (what := problem(path, link, pages))
]
print(*problems, f"{len(pages)} pages, {len(problems)} links that lead nowhere", sep="\n")
sys.exit(bool(problems) or not pages)
