"""HTML and SVG by hand: every text is escaped, so that nothing that came from outside can become markup."""

from html import escape
from typing import Final

_VOID: Final = frozenset({"meta", "br", "hr"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | Markup | None


def element(name: str, /, *children: Child, **attributes: str | float) -> Markup:
    """Return an element. Attribute names end in `_` where Python keeps the word, and `-` is written `_`.

    >>> element("p", "a < b", element("br"), class_="note")
    '<p class="note">a &lt; b<br></p>'
    """
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"' for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Return children one after the other; None is nothing."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children if child is not None))


def table(headings: list[tuple[str, str]], rows: list[list[Child]], *, caption: str) -> Markup:
    """Return a table.

    Args:
        headings: Title and class of each column; the class is that of its cells, too.
        rows: Cells.
        caption: What the table shows, in words.
    """
    head = element("tr", *(element("th", title, scope="col", class_=kind) for title, kind in headings))
    body = [
        element("tr", *(element("td", cell, class_=kind) for cell, (_, kind) in zip(row, headings, strict=True))) for row in rows
    ]  # fmt: skip
    return element("table", element("caption", caption), element("thead", head), element("tbody", *body))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
