"""LongPort's official SDK and ours on the same simulated gateway, in one run: see benchmarks/longport/__main__.py."""

from benchmarks.longport.cases import ROUNDS, TRADES, Case, failures, measure, print_tables

__all__ = ["ROUNDS", "TRADES", "Case", "failures", "measure", "print_tables"]
