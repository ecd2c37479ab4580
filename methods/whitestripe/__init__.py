"""White Stripe (Shinohara 2014): each image in units of its own normal-appearing white matter.

`plugin` is the method, `stripe` its arithmetic.
"""

from harmobench.methods.whitestripe.plugin import WhiteStripe

__all__ = ["WhiteStripe"]
