"""RAVEL (Fortin 2016): what varies together with the CSF is taken out of every image.

`plugin` is the method, `region` finds its control voxels, `factors` is its arithmetic, streamed
over blocks of voxels of the images that `rows` keeps on the disk.
"""

from harmobench.methods.ravel.plugin import Ravel, RavelCV

__all__ = ["Ravel", "RavelCV"]
