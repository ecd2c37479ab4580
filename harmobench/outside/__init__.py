"""Methods in another world: a `method.toml` says which command lines fit and harmonize.

So an R script, a network in another Python environment, a MATLAB function, a container or a
vendor's binary is a method like any other. `docs/outside.md` says how.
"""

from __future__ import annotations

from harmobench.outside.making import method_from

__all__ = ["method_from"]
