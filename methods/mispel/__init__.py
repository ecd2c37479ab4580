"""MISPEL (Torbati 2023)."""
