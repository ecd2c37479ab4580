"""What differences a cohort of some size can show: noncentral t, pure arithmetic.

The unit is the subject, as in the rigorous comparisons: n paired differences, method minus RAW,
with standard deviation sd. Their mean is tested by a two-sided t-test with n - 1 degrees of
freedom, whose power at a true difference delta is that of a noncentral t with noncentrality
delta / (sd sqrt(f / n)). The design factor f is 1, or more where test subjects share a trained
model within a fold: `design_factor`.

Sources: Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, chapter 2 (t-tests);
Kish 1965, Survey Sampling, section 5.4 (design effect 1 + (m - 1) rho).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
REACH = 9.0  # standard deviations; a normal value beyond it has probability 1e-19
NODES = 200  # of the Gauss-Legendre rule


def power_of(noncentrality: float, df: float, level: float) -> float:
    """Return the power of a two-sided t-test.

    Parameters
    ----------
    noncentrality
        True difference over the standard error that its estimate has.
    df
        Degrees of freedom, above 0.
    level
        Probability of an error of the first kind, between 0 and 1.

    Returns
    -------
    float
        `level` where the noncentrality is 0.

    Examples
    --------
    >>> round(power_of(0.0, 17, 0.05), 12)
    0.05
    >>> round(power_of(3.0, 17, 0.05), 3)
    0.807
    """
    from scipy import stats

    critical = float(stats.t.isf(level / 2, df))
    return _above(noncentrality, critical, df) + _above(-noncentrality, critical, df)


def _above(shift: float, critical: float, df: float) -> float:
    """P((Z + shift) / S > critical), where Z is standard normal and S^2 is chi-square over df.

    Integrated over S: scipy's noncentral t (1.15) gives NaN or an error for many of the values that
    a plan meets, few degrees of freedom or small levels. Where Z would have to be beyond REACH, the
    integrand is the density of S or 0.
    """
    from scipy import special

    def below(s: float) -> float:
        return float(special.gammainc(df / 2, df * s**2 / 2))

    low = np.sqrt(2 * special.gammaincinv(df / 2, 1e-18) / df)
    high = np.sqrt(2 * special.gammainccinv(df / 2, 1e-18) / df)
    start = float(np.clip((shift - REACH) / critical, low, high))
    end = float(np.clip((shift + REACH) / critical, low, high))
    nodes, weights = _rule()
    s = start + (end - start) * (nodes + 1) / 2
    log_density = (df - 1) * np.log(s) - df * s**2 / 2
    log_density += np.log(2) + df / 2 * np.log(df / 2) - special.gammaln(df / 2)
    inside = np.exp(log_density) * special.ndtr(shift - critical * s)
    return below(start) + float(weights @ inside) * (end - start) / 2


@lru_cache(maxsize=1)
def _rule() -> tuple[FloatArray, FloatArray]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return nodes, weights


@lru_cache(maxsize=4096)
def noncentrality(df: float, power: float, level: float) -> float:
    """Return the noncentrality at which a two-sided t-test reaches a power.

    Parameters
    ----------
    df
        Degrees of freedom, above 0.
    power
        Above `level` and below 1.
    level
        Probability of an error of the first kind.

    Examples
    --------
    >>> round(power_of(noncentrality(17, 0.8, 0.05), 17, 0.05), 9)
    0.8
    """
    from scipy.optimize import brentq

    high = 4.0
    while power_of(high, df, level) < power:
        high *= 2.0
    root = brentq(lambda x: power_of(x, df, level) - power, 0.0, high, xtol=1e-12, rtol=1e-14)
    return float(root)


def fold_sizes(subjects: int, folds: int) -> tuple[int, ...]:
    """Sizes of test folds that are as equal as can be.

    >>> fold_sizes(8, 3)
    (3, 3, 2)
    """
    return tuple(subjects // folds + (k < subjects % folds) for k in range(folds))


def design_factor(sizes: tuple[int, ...], correlation: float) -> float:
    """Return how much correlation within folds inflates the variance of a mean over subjects.

    1 + (m - 1) rho, where m is the sum of squared fold sizes over the number of subjects: the size
    of a fold, where all are equal.

    >>> round(design_factor((3, 3, 3, 3, 3, 3), 0.1), 12)
    1.2
    """
    m = sum(size**2 for size in sizes) / sum(sizes)
    return 1.0 + (m - 1.0) * correlation


def smallest_difference(
    sd: float, n: int, power: float, level: float, factor: float = 1.0
) -> float:
    """Return the smallest true mean difference that n subjects show with this power.

    Parameters
    ----------
    sd
        Standard deviation over subjects of the paired differences; any unit.
    n
        Subjects, at least 2.
    power, level
        As in `noncentrality`.
    factor
        Design factor: variance of the mean over that of independent subjects.

    Returns
    -------
    float
        In the unit of `sd`.

    Examples
    --------
    >>> round(smallest_difference(1.0, 18, 0.8, 0.05), 3)
    0.701
    """
    return noncentrality(n - 1.0, power, level) * sd * float(np.sqrt(factor / n))


def smallest_by_folds(
    sd: float, sizes: tuple[int, ...], power: float, level: float, correlation: float
) -> float:
    """Return the same for the fold-level test, a one-sample t-test on the means of test folds.

    Its degrees of freedom are the number of folds less 1. The folds' means are taken to have one
    variance, which is exact where all folds have one size.
    """
    n = sum(sizes)
    spread = sd * float(np.sqrt(design_factor(sizes, correlation) / n))
    return noncentrality(len(sizes) - 1.0, power, level) * spread


def smallest_group_effect(n: int, power: float, level: float) -> float | None:
    """Return the smallest Cohen's d that two independent groups of n/2 show; no method involved.

    Two-sample t-test with n - 2 degrees of freedom; for odd n one group has a subject more.

    Returns
    -------
    float or None
        None under 4 subjects: a group needs 2.

    Examples
    --------
    >>> round(smallest_group_effect(34, 0.8, 0.05), 3)
    0.991
    """
    if n < 4:
        return None
    return noncentrality(n - 2.0, power, level) * float(np.sqrt(_both(n)))


def smallest_change(sd: float, n: int, power: float, level: float, effect: float) -> float | None:
    """Return the smallest change of Cohen's d, method minus RAW, that n subjects show.

    Both d are of the same people: two groups of n/2. To first order (delta method) the variance of
    the change is s^2 (1/n1 + 1/n2) + (a^2 + b^2 - 2 r^2 a b) / (2 (n - 2)), where s is `sd`, a is
    RAW's d, b the method's and r = 1 - s^2 / 2 the correlation within groups of the subjects'
    values on RAW and on the method. The second term is what estimating the two standard deviations
    adds; since the estimates of a and b vary too, it has 1/n1 + 1/n2 more in each of a^2, b^2 and
    a b. Derived from the moments of the bivariate normal. The change over its standard error is
    taken as t with n - 2 degrees of freedom, as in the jackknife-t of a run. Against that, for a up
    to 0.8, the planned power is right to 3 points from 14 subjects on; at 8 it is 10 points less.

    Parameters
    ----------
    sd
        Standard deviation within groups of the paired differences of standardized values: each
        scan's value over the standard deviation within groups of its method and scanner.
    n
        Subjects.
    power, level
        As in `noncentrality`.
    effect
        Cohen's d of RAW.

    Returns
    -------
    float or None
        None where no change is large enough: under 4 subjects, or where the standard deviations
        are so uncertain that the standard error grows as fast as the change.

    Examples
    --------
    >>> round(smallest_change(0.2, 40, 0.8, 0.05, effect=0.0), 3)
    0.195
    """
    if n < 4:
        return None
    nu = n - 2.0
    r2 = (1.0 - sd**2 / 2.0) ** 2
    q = noncentrality(nu, power, level) ** 2
    # change^2 = q (sd^2 both + ((2 a^2 + 2 both + 2 a change) (1 - r2) + change^2) / (2 nu))
    square = 1.0 - q / (2.0 * nu)
    linear = -q * effect * (1.0 - r2) / nu
    constant = -q * (sd**2 * _both(n) + (effect**2 + _both(n)) * (1.0 - r2) / nu)
    if square <= 0.0:
        return None
    return float((-linear + np.sqrt(linear**2 - 4.0 * square * constant)) / (2.0 * square))


def _both(n: int) -> float:
    return 1.0 / (n // 2) + 1.0 / (n - n // 2)


def fewest_for_sign_flip(level: float) -> int:
    """Return the fewest subjects with whom an exact sign-flip test can reach a level.

    Its smallest two-sided p is 2^(1 - n).

    >>> fewest_for_sign_flip(0.05)
    6
    """
    n = 1
    while 2.0 ** (1 - n) > level:
        n += 1
    return n
