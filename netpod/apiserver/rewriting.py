"""Links of a page that a proxy hands on, led through the proxy, so that a browser finds what they mean.

Source: k8s.io/apimachinery pkg/util/proxy/transport.go.
"""

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser

Lead = Callable[[str], str]
"""From a URL as the page has it to one as the client must see it."""

LINKS = {
    tag: frozenset(names.split())
    for tag, names in {
        "a": "href",
        "applet": "codebase",
        "area": "href",
        "audio": "src",
        "base": "href",
        "blockquote": "cite",
        "body": "background",
        "button": "formaction",
        "command": "icon",
        "del": "cite",
        "embed": "src",
        "form": "action",
        "frame": "longdesc src",
        "head": "profile",
        "html": "manifest",
        "iframe": "longdesc src",
        "img": "longdesc src usemap",
        "input": "src usemap formaction",
        "ins": "cite",
        "link": "href",
        "object": "classid codebase data usemap",
        "q": "cite",
        "script": "src",
        "source": "src",
        "video": "poster src",
    }.items()
}
"""Attributes that hold a URL, by element."""
_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")


class Rewriter(HTMLParser):
    """Takes a page in pieces and gives it back in others; what is no link stays as it is."""

    def __init__(self, lead: Lead) -> None:
        super().__init__(convert_charrefs=False)
        self._lead = lead
        self._out: list[str] = []

    def take(self, data: bytes, *, last: bool = False) -> bytes:
        """Read the next piece; return what of the page is settled, all of it after the last one."""
        # Byte by byte: names and quotes are ASCII in every encoding the web still has.
        self.feed(data.decode("latin-1"))
        if last:
            self.close()
        out, self._out = "".join(self._out), []
        return out.encode("latin-1", "xmlcharrefreplace")

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """An element begins."""
        names = LINKS.get(tag, frozenset())

        def led(match: re.Match[str]) -> str:
            value = match[3].strip("\"'")
            if match[1].lower() not in names:
                return match[0]
            found = self._lead(html.unescape(value))
            return f'{match[1]}{match[2]}"{html.escape(found)}"'

        text = self.get_starttag_text() or ""
        self._out.append(_ATTRIBUTE.sub(led, text) if names else text)

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        self._out.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Text, also that of scripts."""
        self._out.append(data)

    def handle_entityref(self, name: str) -> None:
        """A character by its name."""
        self._out.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        """A character by its number."""
        self._out.append(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        """A comment."""
        self._out.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        """A doctype."""
        self._out.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        """A processing instruction."""
        self._out.append(f"<?{data}>")

    def unknown_decl(self, data: str) -> None:
        """A CDATA section."""
        self._out.append(f"<![{data}]>")
