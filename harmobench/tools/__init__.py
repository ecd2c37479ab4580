"""Segmenters and morphometry, one program a file."""
