"""A backtest as a table in the terminal, as backtest.md, and as a chart over time (backtest.svg)."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from recsys.files import replace_text
from recsys.metrics import Estimate
from training.backtest.results import ALL, REFIT, Backtest, BacktestView
from training.backtest.windows import Window
from training.evaluation import ID_ONLY, MODEL, REFERENCES, markdown_row
from training.report import Series, line_chart, standalone

NOTE = (
    "Each window is asked of models that were fitted on the time before it. Users and items are as they "
    "come, also without an earlier event. A split of each user's own last events lets a model read what "
    "other users did later, and leaves new users out; its figures are not comparable with these. Means have "
    "equal weights for the windows; intervals are over users, who are drawn with all their windows."
)


def backtest_table(found: Backtest, view: str, metric: str) -> Table:
    """A row for each model: every window, the mean with its interval, and the main model minus this one."""
    results = found.views[view]
    table = Table(title=f"{view}: {metric}", caption=results.description)
    table.add_column("model", no_wrap=True)
    for window, num in zip(found.windows, results.num_users, strict=True):
        table.add_column(f"{window.name}\n{num:,} users", justify="right")
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column(f"{MODEL} minus it", justify="right", no_wrap=True)
    for name, cells, is_clear in _rows(results, metric):
        table.add_row(name, *cells[:-1], Text(cells[-1], style="bold" if is_clear else ""))
    return table


def backtest_findings(found: Backtest, metric: str) -> list[str]:
    """A sentence for each view on the best baseline by its mean, and one on the refit where there is one."""
    sentences = []
    for view, results in found.views.items():
        baselines = {name: each[metric] for name, each in results.models.items() if _is_baseline(name)}
        if not baselines:
            continue
        best = max(baselines, key=lambda name: baselines[name].mean.value)
        sentences.append(
            f"{view}: {_words(baselines[best].difference)} than {best}, the best baseline "
            f"({MODEL} minus it: {metric} {_signed(baselines[best].difference)})."
        )
    refit = found.views[ALL].models.get(REFIT)
    if refit is not None:
        gap = refit[metric].difference
        mirrored = Estimate(value=-gap.value, low=-gap.high, high=-gap.low)
        sentences.append(
            f"The refit on all earlier events is {_words(mirrored)} than the evaluated model "
            f"({ALL}, {metric} {_signed(mirrored)})."
        )
    return sentences


def _is_baseline(name: str) -> bool:
    return name.partition(",")[0] != MODEL and name not in (*REFERENCES, ID_ONLY)


def _words(gap: Estimate) -> str:
    return "better" if gap.low > 0 else "worse" if gap.high < 0 else "not clearly better"


def write_backtest(found: Backtest, out: Path, metrics: Sequence[str]) -> None:
    """Write backtest.md and backtest.svg into `out`."""
    lines = ["# Backtest", "", NOTE, "", *(f"- {each}" for each in backtest_findings(found, metrics[0])), ""]
    for view, results in found.views.items():
        if not results.models:
            continue
        lines += [f"## {view}", "", f"{results.description[:1].upper()}{results.description[1:]}.", ""]
        windows = zip(found.windows, results.num_users, strict=True)
        heads = [f"{window.name} ({num:,} users)" for window, num in windows]
        for metric in metrics:
            lines += [markdown_row([metric, *heads, "mean", f"{MODEL} minus it"])]
            lines += [markdown_row(["---"] * (len(heads) + 3))]
            lines += [markdown_row([name, *cells]) for name, cells, _ in _rows(results, metric)]
            lines.append("")
    replace_text(out / "backtest.md", "\n".join(lines).rstrip() + "\n")
    if found.views[ALL].models:
        replace_text(out / "backtest.svg", backtest_chart(found, metrics[0]))


def backtest_chart(found: Backtest, metric: str) -> str:
    """The metric of the main model and its best competitors over the windows, all positives counted. SVG."""
    models = found.views[ALL].models
    order = sorted(models, key=lambda name: (name != MODEL, -models[name][metric].mean.value))[:6]
    series = [
        Series(
            name=name,
            kind=("main", "competitor", "variant")[min(at, 2)],
            x=[place for place, value in enumerate(models[name][metric].by_window, 1) if value is not None],
            y=[value for value in models[name][metric].by_window if value is not None],
        )
        for at, name in enumerate(order)
    ]
    chart = line_chart(
        series,
        title=f"{metric} by window",
        description=f"{metric} of {len(series)} models in the windows from "
        f"{', '.join(window.name for window in found.windows)}",
        x_label=f"window, from {_date(found.windows[0])} to {_date(found.windows[-1])}",
        y_label=metric,
    )
    return standalone(chart)


def _date(window: Window) -> str:
    return window.name[:10]


def _rows(results: BacktestView, metric: str) -> list[tuple[str, list[str], bool]]:
    """Name, cells, and whether the interval of the difference does not contain 0, of each model."""
    rows: list[tuple[str, list[str], bool]] = []
    for name, metrics in results.models.items():
        found = metrics[metric]
        cells = ["–" if value is None else f"{value:.4f}" for value in found.by_window]
        gap = found.difference
        is_clear = name != MODEL and (gap.low > 0 or gap.high < 0)
        cells += [f"{found.mean.value:.4f} {_interval(found.mean)}", "" if name == MODEL else _signed(gap)]
        rows.append((name, cells, is_clear))
    return rows


def _signed(gap: Estimate) -> str:
    return f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"


def _interval(estimate: Estimate) -> str:
    return f"[{estimate.low:.4f}, {estimate.high:.4f}]"
