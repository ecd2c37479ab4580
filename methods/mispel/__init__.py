"""MISPEL (Torbati 2023): one U-Net encoder and one linear decoder a scanner, trained in two steps.

`slices` makes matched axial slices of a cohort, `network` and `losses` are the paper's, `training`
is step 1, `harmonizing` step 2, `selection` the search for hyperparameters. Only `plugin` is free
of torch, so that the method can be listed without it.
"""

from harmobench.methods.mispel.plugin import Mispel

__all__ = ["Mispel"]
