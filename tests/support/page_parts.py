"""An HTML page taken apart by the standard library's parser, strict about what must be closed."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "hr", "input"}
Attributes = dict[str, str]


@dataclass
class Page(HTMLParser):
    """Elements with their attributes and text; `open_` holds what was never closed."""

    elements: list[tuple[str, Attributes]] = field(default_factory=list)
    texts: list[tuple[tuple[str, ...], str]] = field(default_factory=list)  # path of tags, text
    figures: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    open_: list[tuple[str, Attributes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def of(cls, text: str) -> "Page":
        page = cls()
        page.feed(text)
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open_.append((tag, attributes))
        if tag == "data":
            known = {name: value for _, each in self.open_ for name, value in each.items()}
            key = tuple(known.get(name, "") for name in ("data-view", "data-model", "data-metric"))
            if all(key):
                self.figures.setdefault(key, []).append(float(attributes["value"]))  # type: ignore[arg-type]

    def handle_endtag(self, tag: str) -> None:
        assert self.open_, f"</{tag}> closes nothing"
        opened, attributes = self.open_.pop()
        assert opened == tag, f"<{opened} {attributes}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((tuple(tag for tag, _ in self.open_), data.strip()))

    def all(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_in(self, tag: str) -> list[str]:
        return [text for path, text in self.texts if tag in path]

    @property
    def text(self) -> str:
        return " ".join(text for path, text in self.texts if "style" not in path)
