"""CALAMITI: anatomy and contrast disentangled by a network, trained on pairs of scanners.

Zuo et al., NeuroImage 2021, in the supervised form of Torbati et al., Medical Image Analysis 2023,
section 2.4: White-Striped input, axial slices, one model for each scanner but the target, no
super-resolution and no fusion of orientations.

==============  ================================================================
module          what it holds
==============  ================================================================
`plugin`        the method: parameters, presets, fit and transform
`checking`      what each parameter may be
`slices`        volumes to cropped axial slices and back, pairs of slices
`networks`      anatomy (beta) and contrast (theta) encoder, decoder, discriminator
`losses`        Gumbel-softmax and every term of the loss
`training`      the alternating training of one model
`inference`     contrast of an image, image from anatomy and contrast
==============  ================================================================

Only `plugin`, `checking` and `slices` are imported with the package; the others need torch.

Departures from the authors' research code, in every preset, and their reasons:

- Slices are cropped to the brains and padded to a multiple of 16, not to 288 x 288, and those
  nearly without brain are not trained on: most of the time went into background.
- Each scanner's robust range of White-Striped intensities becomes 0 to 1, so that the decoder has
  contrast to learn and not gain; images leave in the target's White-Stripe units.
- U-Nets: nearest-neighbour doubling instead of bilinear, which with its convolution is one
  transposed convolution of less than half the arithmetic; no convolution ahead of the first
  level; linear output, for White-Striped tails fall below 0. What rises from coarser levels starts
  faint (`networks.FAINT`), for intensities are local: from the usual start, small budgets leave
  images more blurred.
- Anatomy encoder: its U-Net gives the logits itself. The code's further layers are there to be
  fine-tuned on another site, and here each scanner has a model of its own.
- Decoder: no instance normalization at the finest level. It would subtract theta, which is
  constant over a slice, from all but the borders.
- Contrast encoder: no instance normalization, which would take out contrast. Its last convolution
  is divided by its area, so that slices of any size learn alike; the variance of theta starts at
  exp(-6), for a decoder leaves noise aside, and with a weight of 1e-7 the divergence keeps nothing.
- Discriminator: no instance normalization, which would subtract the scanner's constant map; with
  neither that nor a steeper LeakyReLU (0.2 instead of 0.01) five layers leave no signal. A label
  is one map a scanner. Pairs are rolled by half a batch and not by one: in a model of two scanners
  most neighbours have one label.
- Anatomies are swapped pair by pair, so that a batch holds each once.
- Contrast comes from any other slice with brain, not from four numbered ones.
- Slices are standardized for VGG16 as it was trained.
- Divergence is summed over theta's numbers, as it is defined, not averaged.
"""

from harmobench.methods.calamiti.plugin import Calamiti

__all__ = ["Calamiti"]
