"""A rule that plugins are held to, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PASSED: Literal["passed"] = "passed"
FAILED: Literal["failed"] = "failed"
NOT_APPLICABLE: Literal["not applicable"] = "not applicable"
NOT_REACHED: Literal["not reached"] = "not reached"
Status = Literal["passed", "failed", "not applicable", "not reached"]


@dataclass(frozen=True)
class Rule:
    """One thing that a plugin must do, or must not.

    Attributes
    ----------
    name
        Short and stable; users see it.
    expects
        What holds where it is kept.
    mend
        What to do where it is broken.
    """

    name: str
    expects: str
    mend: str


@dataclass(frozen=True)
class Verdict:
    """What became of a rule.

    Attributes
    ----------
    rule
        The rule.
    status
        "not reached" where an earlier failure left nothing to look at.
    found
        What was found instead, or why the rule was not looked at.
    """

    rule: Rule
    status: Status
    found: str = ""
