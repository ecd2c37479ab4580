"""Figures of the report, each a function that returns a matplotlib Figure."""
