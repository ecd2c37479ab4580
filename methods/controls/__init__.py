"""Controls: what a metric must not reward, one ceiling, and one simple baseline.

`averages`: oracle, template, shrink; `strangers`: shuffle, mismatch (`donors` draws who is whom);
`degraded`: invert, blur, blur-noise (`smoothing` is their arithmetic); `histogram`: the baseline.
"""

from harmobench.methods.controls.averages import Oracle, Shrink, Template
from harmobench.methods.controls.degraded import Blur, BlurNoise, Invert
from harmobench.methods.controls.histogram import Histogram
from harmobench.methods.controls.strangers import Mismatch, Shuffle

__all__ = [
    "Blur",
    "BlurNoise",
    "Histogram",
    "Invert",
    "Mismatch",
    "Oracle",
    "Shrink",
    "Shuffle",
    "Template",
]
