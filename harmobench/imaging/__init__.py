"""Arithmetic on images that more than one room needs."""
