"""Comparing runs: pure folds of several runs into what a table, a figure or a report shows.

All of it takes a `RunSummary` for each run; nothing here reads a store or draws.
"""
