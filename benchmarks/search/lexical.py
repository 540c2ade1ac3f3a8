"""Time and memory of the lexical index beside bare tantivy, on generated documents.

    python -m benchmarks.search.lexical [--items 100000] [--queries 100] [--folder TEMPORARY]

A document has 6 words of title, 60 of text, 80 of reviews and 2 category values; the words are drawn from
50,000 by Zipf's law. The bare index has the same fields and words, tantivy's own English tokenizer, one
thread, no vocabulary and no suggestions. Each is built in a process of its own; memory is the growth of its
peak over the documents' own. A bare search is one call of tantivy's searcher on the same index for ten hits
and their ids, with the exact stems of the same words in all fields that have them. Each row's words are
searched both ways in turn; times are medians of CPU time, so that other work on the machine counts little.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tantivy
from tantivy import Occur, Query

from recsys.search import Document, LexicalIndex, LexicalSettings, parse_words

FIELDS = ("title", "categories", "text", "transcript", "reviews")
NUM_WORDS = 50_000
LENGTHS = {"title": 6, "text": 60, "reviews": 80}
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
K = 10


def vocabulary() -> list[str]:
    """Different words of two to five syllables."""
    rng = np.random.default_rng(0)
    words: dict[str, None] = {}
    while len(words) < NUM_WORDS:
        words["".join(rng.choice(SYLLABLES, rng.integers(2, 6)))] = None
    return list(words)


def documents(num_items: int, words: Sequence[str]) -> list[Document]:
    """Documents whose words are drawn by Zipf's law."""
    rng = np.random.default_rng(1)
    total = sum(LENGTHS.values())
    weight = 1 / np.arange(1, len(words) + 1)
    made = []
    for item in range(2, num_items + 2):
        drawn = [words[at] for at in rng.choice(len(words), total, p=weight / weight.sum())]
        title, text = drawn[:6], drawn[6:66]
        made.append(
            Document(
                item=item,
                title=" ".join(title),
                text=" ".join(text),
                categories=(f"group{item % 20}", f"kind{item % 300}"),
                reviews=" ".join(drawn[66:]),
                popularity=float(item % 97),
            )
        )
    return made


def build_ours(made: list[Document], directory: Path) -> None:
    LexicalIndex.build(made, LexicalSettings(), directory / "index")


def build_bare(made: list[Document], directory: Path) -> None:
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("item", indexed=True, fast=True)
    for field in FIELDS:
        builder.add_text_field(field, tokenizer_name="en_stem")
    index = tantivy.Index(builder.build(), path=str(directory))
    writer = index.writer(heap_size=128_000_000, num_threads=1)
    for each in made:
        texts = {"title": each.title, "text": each.text, "reviews": each.reviews}
        writer.add_document(tantivy.Document(item=each.item, categories=" ".join(each.categories), **texts))
    writer.commit()
    writer.wait_merging_threads()


BUILDS: dict[str, Callable[[list[Document], Path], None]] = {"bare": build_bare, "lexical": build_ours}


def measure_build(name: str, num_items: int, directory: Path) -> tuple[float, float, float]:
    """Seconds, MB of memory and MB on disk of one build."""
    made = documents(num_items, vocabulary())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    BUILDS[name](made, directory)
    seconds = time.process_time() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6
    return seconds, memory, size


def misspelled(word: str) -> str:
    """The word without its third letter."""
    return word[:2] + word[3:]


def median_ms(call: Callable[[], object], rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return float(np.median(times) * 1e3)


def measure_searches(index: LexicalIndex, bare: tantivy.Index, schema: tantivy.Schema, num: int) -> None:
    words = vocabulary()
    rng = np.random.default_rng(2)
    texts = [[words[at] for at in rng.geometric(1 / 2000, 3) - 1] for _ in range(num)]
    searcher = bare.searcher()
    stem = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.stemmer("english"))
    analyzer = stem.build()

    def bare_search(text: Sequence[str]) -> object:
        terms = [
            (Occur.Should, Query.boost_query(Query.term_query(schema, field, term, "freq"), 2.0))
            for term in analyzer.analyze(" ".join(text))
            for field in ("all", "title", "categories")
            if searcher.doc_freq(field, term)
        ]
        hits = searcher.search(Query.boolean_query(terms), K, count=False).hits
        return searcher.fast_field_values("item", [address for _, address in hits])

    num_rows = len(index) + 2
    half, few = rng.random(num_rows) < 0.5, rng.random(num_rows) < 0.001
    some = rng.integers(2, num_rows, 500)

    def search(text: str, *, prefix: bool = False, allowed: np.ndarray | None = None) -> object:
        return index.search(parse_words(text, prefix=prefix), K, allowed)

    rows: dict[str, tuple[int, Callable[[list[str]], object]]] = {
        "one word": (1, lambda text: search(text[0])),
        "three words": (3, lambda text: search(" ".join(text))),
        "three words, half of the items allowed": (3, lambda text: search(" ".join(text), allowed=half)),
        "three words, one item in 1,000 allowed": (3, lambda text: search(" ".join(text), allowed=few)),
        "three words, the last one excluded": (2, lambda text: search(f"{text[0]} {text[1]} -{text[2]}")),
        "two words, the last one misspelled": (2, lambda text: search(f"{text[0]} {misspelled(text[1])}")),
        "two words, of the last one three letters": (
            2, lambda text: search(f"{text[0]} {text[1][:3]}", prefix=True),
        ),
        "a phrase of two words": (2, lambda text: search(f'"{text[0]} {text[1]}"')),
        "scores of 500 items": (3, lambda text: index.scores(parse_words(" ".join(text)), some)),
        "coverage of 500 items": (3, lambda text: index.coverage(parse_words(" ".join(text)), some)),
        "words that twenty items matched": (
            3, lambda text: index.matched(parse_words(" ".join(text)), some[:20]),
        ),
        "ten suggestions for three letters": (1, lambda text: index.suggest(text[0][:3], 10)),
    }  # fmt: skip
    print("| search | CPU ms | bare, CPU ms | ratio |\n|---|---|---|---|")
    for name, (num_words, call) in rows.items():
        pairs = [
            (median_ms(partial(bare_search, text[:num_words])), median_ms(partial(call, text)))
            for text in texts
        ]
        base, own = (float(np.median([pair[at] for pair in pairs])) for at in (0, 1))
        print(f"| {name} | {own:.2f} | {base:.2f} | {own / base:.1f} |")
    one = Document(item=2, title="a new title", text="new words in a text")
    print(f"an update of one item takes CPU {median_ms(lambda: index.update([one]), 5):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where the indexes are built; removed at the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print("| build | CPU s | ratio | memory, MB | on disk, MB |\n|---|---|---|---|---|")
        base = 0.0
        for name in BUILDS:
            directory = Path(folder) / name
            directory.mkdir()
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, memory, size = pool.apply(measure_build, (name, options.items, directory))
            base = base or seconds
            print(
                f"| {name} | {seconds:.1f} | {seconds / base:.1f} | {memory:.0f} | {size:.0f} |", flush=True
            )
        start = time.process_time()
        index = LexicalIndex.open(Path(folder) / "lexical" / "index")
        print(f"opened in CPU {(time.process_time() - start) * 1e3:.0f} ms")
        bare = tantivy.Index.open(str(Path(folder) / "lexical" / "index" / "documents"))
        measure_searches(index, bare, bare.schema, options.queries)


if __name__ == "__main__":
    main()
