"""Controls against RAW: what a metric rewards that it must not, and what it catches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harmobench.interface import Role
from harmobench.metrics.statistics.paired import Test, paired_t

REWARDS = {"blur": "rewards blur", "blur-noise": "rewards blur and noise"}
MUST_LOSE = frozenset({"degenerate", "degradation"})  # an oracle may well be better than RAW


def guard(
    control: str, role: Role, gains: NDArray[np.float64], size: float, *, either: bool = False
) -> Test:
    """Compare a control with RAW on one metric; the reason is the mark that the metric gets.

    Parameters
    ----------
    control, role
        Which control, and what it is there for.
    gains
        One a subject, positive where the control scores better than RAW.
    size
        Of the scores, for `paired_t`.
    either
        A change in either direction is wrong: `gains` are distances from what RAW has by
        definition, with their sign. (Without it they could only be worse, and all be caught.)

    Returns
    -------
    Test
        With the 95% t interval. Where all gains are equal, as where one image for everybody is
        identified by chance alone, the interval is that one value.

    Examples
    --------
    >>> guard("blur", "degradation", np.array([0.1, 0.2, 0.15]), 1.0).reason
    'rewards blur'
    >>> guard("template", "degenerate", np.array([-0.9, -0.9, -0.9]), 1.0).reason
    'caught'
    >>> guard("blur-noise", "degradation", np.array([5.0, 6.0, 5.5]), 1.0, either=True).reason
    'caught'
    """
    test = paired_t(gains, size)
    if test.low is None and test.estimate is not None:
        test = replace(test, low=test.estimate, high=test.estimate, status="ok", reason="")
    if test.low is None or test.high is None:
        return test
    if test.low > 0 and control in REWARDS and not either:
        return replace(test, reason=REWARDS[control])
    wrong = test.high < 0 or (either and test.low > 0)
    if wrong and role in MUST_LOSE:
        return replace(test, reason="caught")
    return test
