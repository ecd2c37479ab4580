"""CALAMITI: anatomy and contrast disentangled by a network, trained on pairs of scanners.

Zuo et al., NeuroImage 2021, in the supervised form of Torbati et al., Medical Image Analysis 2023,
section 2.4: White-Striped input, axial slices, one model for each scanner but the target, no
super-resolution and no fusion of orientations.

==============  ================================================================
module          what it holds
==============  ================================================================
`plugin`        the method: parameters, presets, fit and transform
`slices`        volumes to cropped axial slices and back, pairs of slices
`networks`      anatomy (beta) and contrast (theta) encoder, decoder, discriminator
`losses`        Gumbel-softmax and every term of the loss
`training`      the alternating training of one model
`inference`     contrast of an image, image from anatomy and contrast
==============  ================================================================

Only `plugin` and `slices` are imported with the package; the others need torch.
"""

from harmobench.methods.calamiti.plugin import Calamiti

__all__ = ["Calamiti"]
