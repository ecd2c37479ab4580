"""harmobench: benchmark MRI harmonization methods on matched multi-scanner cohorts."""

__version__ = "0.1.0"
