"""What all kinds of plugins are judged by: import, exceptions, crashes, prints, files, network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import SettingsError
from harmobench.testing import conduct, rules
from harmobench.testing.play import Step, Theatre, can_unshare
from harmobench.testing.remains import Played
from harmobench.testing.rule import FAILED, NOT_APPLICABLE, NOT_REACHED, PASSED, Rule, Verdict

IMPORT = "import"
OWN_ERROR = "HarmobenchError"
LONE = "lone"  # folder of scans that lie alone
SHOWN = 3  # of a list of findings
FRAME = re.compile(r'File "([^"]+)", line (\d+) in (\w+)')
Array = NDArray[Any]


def importing() -> Step:
    """Step that imports the plugin."""
    return {"name": IMPORT, "do": "imported"}


def judged(rule: Rule, faults: Iterable[str]) -> Verdict:
    """Pass a rule that has no faults."""
    found = [fault for fault in faults if fault]
    if not found:
        return Verdict(rule, PASSED)
    more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
    return Verdict(rule, FAILED, found[0] + more)


def unreached(rule: Rule, why: str) -> Verdict:
    """Say that there was nothing to look at."""
    return Verdict(rule, NOT_REACHED, why)


def not_applicable(rule: Rule, why: str) -> Verdict:
    """Say that a rule is none for this plugin."""
    return Verdict(rule, NOT_APPLICABLE, why)


def loading(theatre: Theatre, first: Played) -> Iterator[Verdict]:
    """Judge the import; nothing else can be looked at where it fails.

    Raises
    ------
    SettingsError
        The plugin refuses the parameters that it was given.
    """
    facts = first.facts(IMPORT)
    if facts is None:
        error = first.error(IMPORT)
        if error and theatre.parameters and "SettingsError" in error["kinds"]:
            raise SettingsError(error["text"])
        yield judged(rules.LOADS, [said(error)]) if error else unreached(rules.LOADS, ended(first))
        return
    faults = []
    if facts["fields"] is None:
        faults.append(f"{facts['class']} is no dataclass, so that --set cannot set parameters")
    if not facts["cited"]:
        faults.append(f"{facts['class']} has no class attribute `reference = Reference(...)`")
    faults += facts.get("declared", [])
    yield judged(rules.LOADS, ["; ".join(faults)])
    heavy = facts["heavy"]
    yield judged(rules.QUICK_IMPORT, [f"it imports {', '.join(heavy)}"] if heavy else [])


def said(error: dict[str, Any]) -> str:
    """Return an exception in words."""
    clear = OWN_ERROR in error["kinds"]  # says itself what is wrong
    where = f", at {error['where']}" if error["where"] and not clear else ""
    return f"{error['type']}: {error['text']}{where}"


def errors_in(played: Played) -> list[str]:
    """Say of each step that raised what it raised."""
    errors = [(name, played.error(name)) for name in played.steps]
    return [f"'{name}' raised {said(error)}" for name, error in errors if error]


def ran(first: Played) -> Verdict:
    """Judge whether all steps of a play came to their end."""
    faults = errors_in(first)
    if not faults and not first.over:
        return unreached(rules.RUNS, ended(first))
    return judged(rules.RUNS, faults)


def alike(rule: Rule, one: Played, other: Played, what: str, start: str = "") -> Verdict:
    """Judge whether two plays gave the same facts.

    Parameters
    ----------
    what
        The fact that is compared, such as "values".
    start
        Of the names of the steps that are.
    """
    faults = []
    for name in (name for name in one.steps if name.startswith(start)):
        error, mine, found = other.error(name), one.facts(name), other.facts(name)
        if error:
            faults.append(f"'{name}' raised {said(error)}")
        elif mine is not None and found is not None and mine.get(what) != found.get(what):
            faults.append(f"other {what} in '{name}'")
    if not faults and not other.over:
        return unreached(rule, ended(other))
    return judged(rule, faults)


def ended(played: Played) -> str:
    """Say why a step was not reached."""
    if played.hung:
        return f"'{played.at}' hung"
    if not played.over:
        return f"its process ended at '{played.at}'"
    failed = next((name for name, step in played.steps.items() if "error" in step), None)
    return f"'{failed}' raised" if failed else "an earlier step was not reached"


def so_far(theatre: Theatre) -> Iterator[Verdict]:
    """Say at once what was broken of that which every process must keep to."""
    for verdict in _conduct(theatre):
        if verdict.status == FAILED and verdict.rule.name not in theatre.told:
            theatre.told.add(verdict.rule.name)
            yield verdict


def closing(theatre: Theatre) -> Iterator[Verdict]:
    """Judge what every process must keep to, over all that were played."""
    return (v for v in _conduct(theatre) if v.rule.name not in theatre.told)


def _conduct(theatre: Theatre) -> Iterator[Verdict]:
    plays = theatre.played
    yield judged(conduct.KEEPS_INPUTS, _harm(plays))
    yield judged(conduct.NO_NETWORK, _calls(plays))
    yield judged(conduct.OWN_FOLDER, _elsewhere(theatre))
    yield judged(conduct.QUIET, _prints(plays))
    yield judged(conduct.SURVIVES, _deaths(plays))
    yield judged(conduct.NO_ORPHANS, _orphans(plays))
    hung = [play for play in plays if play.hung]
    yield judged(
        conduct.IN_TIME,
        [f"'{p.at}' took longer than {theatre.limit:g} s{_place(p.trace)}" for p in hung],
    )


def _steps(plays: Iterable[Played]) -> Iterator[tuple[str, dict[str, Any]]]:
    for play in plays:
        yield from play.steps.items()


def _harm(plays: Iterable[Played]) -> Iterator[str]:
    for play in plays:
        for file in play.harmed[:SHOWN]:
            yield f"file {file} of the cohort changed in '{play.name}'"
    for name, facts in _steps(plays):
        for what in facts.get("changed", ())[:SHOWN]:
            yield f"{what} changed in '{name}'"


def _calls(plays: Iterable[Played]) -> Iterator[str]:
    for name, facts in _steps(plays):
        for address in facts.get("network", ())[:1]:
            yield f"'{name}' called {address}"
    fine = {name for play in plays if not play.unshared for name in play.steps if play.facts(name)}
    for play in plays:
        for name in play.steps if play.unshared else ():
            error = play.error(name)
            if error and name in fine:
                yield f"'{name}' raised {said(error)} where the network was taken away"


def _elsewhere(theatre: Theatre) -> Iterator[str]:
    root = str(theatre.stage.folder.resolve())
    given = (f"{root}/cohort/", f"{root}/{LONE}/")  # judged by what is harmed
    homes = {"cwd": "the working folder", "home": "the home folder", "tmp": "temporary files"}
    for play in theatre.played:
        for file in play.left[:1]:
            where, _, name = file.partition("/")
            yield f"left {name} in {homes[where]}"
    for name, facts in _steps(theatre.played):
        for path in [p for p in facts.get("writes", ()) if not p.startswith(given)][:1]:
            inside = re.sub(r"^/plays/[^/]+/", "/", path.removeprefix(root))
            shown = f"...{inside}" if path.startswith(root) else path
            yield f"'{name}' wrote to {shown}"


def _prints(plays: Iterable[Played]) -> Iterator[str]:
    for play in plays:
        raised = any("error" in step for step in play.steps.values())
        text = play.printed.strip()
        if text and not raised:  # what a program said that failed is the log of its failure
            lines = text.splitlines()
            more = f" and {len(lines) - 1} lines more" if len(lines) > 1 else ""
            yield f"'{play.name}' printed {lines[0][:100]!r}{more}"


def _deaths(plays: Iterable[Played]) -> Iterator[str]:
    for play in plays:
        if not play.over and not play.hung:
            how = f"signal {-play.code}" if play.code < 0 else f"exit status {play.code}"
            yield f"the process ended at '{play.at}' ({how}){_place(play.trace)}"
    for name, facts in _steps(plays):
        error = facts.get("error")
        if error and {"SystemExit", "KeyboardInterrupt"} & set(error["kinds"]):
            yield f"'{name}' raised {said(error)}"


def _orphans(plays: Iterable[Played]) -> Iterator[str]:
    for play in plays:
        if play.over:  # else nobody was there to end them
            yield from (f"'{command}' ran on after '{play.name}'" for command in play.orphans)


def _place(trace: str) -> str:
    """Name the innermost line of the plugin in faulthandler's trace."""
    for path, line, function in FRAME.findall(trace):
        if "harmobench/testing" not in path and "importlib" not in path:
            return f", at {Path(path).name}:{line} in {function}"
    return ""


def array(path: Path) -> Array | None:
    """Read what a step stored; None where it stored nothing."""
    return np.load(path, allow_pickle=False) if path.is_file() else None


def difference(one: Array, other: Array) -> str:
    """Say how two images differ; "" where they are equal bit by bit."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{one.shape} {one.dtype} and {other.shape} {other.dtype}"
    if one.tobytes() == other.tobytes():
        return ""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
    where = int(np.count_nonzero(~(apart == 0)))
    return f"{where} voxels differ, by at most {np.nanmax(apart):.3g}"


def network_note() -> str:
    """Say what the network rule could not see."""
    return (
        ""
        if can_unshare()
        else "no-network: this system does not let a process go without "
        "network (unshare -rn), so that only calls from Python were seen"
    )
