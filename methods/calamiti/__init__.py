"""CALAMITI (Zuo 2021), trained on pairs of scanners."""
