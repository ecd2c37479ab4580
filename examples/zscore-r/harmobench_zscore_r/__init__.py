"""A harmonization method in R: `method.toml` says how it is called."""

from harmobench.outside import method_from

ZScoreR = method_from(__file__)
