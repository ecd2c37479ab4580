"""The command line of the package intensity-normalization as a method of harmobench."""

from harmobench.outside import method_from

IntensityNormalization = method_from(__file__)
