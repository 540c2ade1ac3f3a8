"""Backtest: one window of time after the other, each asked of models that were fitted before it."""

from training.backtest.measure import backtest
from training.backtest.results import ALL, REFIT, Backtest
from training.backtest.show import backtest_chart, backtest_findings, backtest_table, write_backtest
from training.backtest.windows import Window, choose_windows

__all__ = [
    "ALL",
    "REFIT",
    "Backtest",
    "Window",
    "backtest",
    "backtest_chart",
    "backtest_findings",
    "backtest_table",
    "choose_windows",
    "write_backtest",
]
