"""The answer to one search on the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serving.search.engine import SearchAnswer, SearchEngine


def show_hits(search: SearchEngine, console: Console, answer: SearchAnswer) -> None:
    """Print the hits with their relevance and why they were found, and what was left out of the query."""
    for name, words in answer.transcripts.items():
        console.print(escape(f"{name}: heard {words!r}" if words else f"{name}: no words were heard"))
    if answer.hits:
        console.print(_table(search, answer))
    else:
        console.print("Nothing in the catalogue fits; --min-relevance 0 lists what is nearest.")
    for note in (*answer.notes, *(f"degraded: {each}" for each in answer.degraded)):
        console.print(escape(note), highlight=False)


def _table(search: SearchEngine, answer: SearchAnswer) -> Table:
    table = Table()
    for name in ("", "score", "relevance"):
        table.add_column(name, justify="right")
    for name in ("item", "title", "why"):
        table.add_column(name)
    engine = search.engine
    for rank, hit in enumerate(answer.hits, 1):
        table.add_row(
            str(rank),
            f"{hit.score:.3f}",
            f"{hit.relevance:.2f}",
            escape(engine.item_id(hit.item)),
            escape(engine.title(hit.item) or ""),
            escape(hit.explanation.text(engine.name)),
        )
    return table
