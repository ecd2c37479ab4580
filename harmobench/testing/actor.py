"""The process in which a plugin is made to work: reads a job, does its steps, reports each.

What a plugin does here, hang or crash or print, hurts nobody: `harmobench.testing.play` starts this
module in folders of its own and reads the report, a file with one JSON object a line.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import random
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from harmobench.testing.watch import Watch

ACTS = {
    "methods": "harmobench.testing.act_method",
    "measure_methods": "harmobench.testing.act_measures",
    "metrics": "harmobench.testing.act_metric",
    "segmenters": "harmobench.testing.act_segmenter",
    "morphometry": "harmobench.testing.act_morphometry",
}
LONGEST = 600  # characters of an exception's text


def main(path: Path) -> None:
    """Do the steps of a job; an exception ends a step, not the others."""
    job = json.loads(path.read_text(encoding="utf-8"))
    act = importlib.import_module(ACTS[job["plugin"]["kind"]]).act_of(job)
    _scramble(job["chance"], job["torch"])
    watch = Watch(tuple(job["allowed"]), job["cohort"])
    with (
        Path(job["report"]).open("w", encoding="utf-8") as report,
        Path(job["trace"]).open("w", encoding="utf-8") as trace,
    ):
        faulthandler.enable(trace)
        faulthandler.register(signal.SIGUSR1, trace)
        sys.addaudithook(watch.hook)
        for step in job["steps"]:
            _tell(report, {"begin": step["name"]})
            _tell(report, {"end": step["name"], **_done(act, step), **watch.notes()})
        _tell(report, {"over": True})


def _scramble(chance: int, torch: bool) -> None:
    """Give each process other global random states: nothing may follow from them."""
    random.seed(chance)
    import numpy as np

    np.random.seed(chance)
    if torch:
        importlib.import_module("torch").manual_seed(chance)


def _tell(report: Any, data: dict[str, Any]) -> None:
    report.write(json.dumps(data, default=repr) + "\n")
    report.flush()


def _done(act: Any, step: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    with warnings.catch_warnings(record=True):  # a run tells them by itself
        warnings.simplefilter("always")
        try:
            facts = getattr(act, step["do"])(step)
        except BaseException as error:
            module = sys.modules.get(act.plugin.target.partition(":")[0])
            facts = {"error": describe(error, getattr(module, "__file__", None) or "")}
    return {**facts, "seconds": time.monotonic() - began}


def describe(error: BaseException, module: str) -> dict[str, Any]:
    """Return an exception as plain data, with the place in the plugin that it came from.

    Parameters
    ----------
    error
        The exception.
    module
        File of the plugin's module; others of its folder are the plugin's too.
    """
    frames = traceback.extract_tb(error.__traceback__)
    outer = [frame for frame in frames if Path(frame.filename).parent != Path(__file__).parent]
    outer = [f for f in outer if Path(f.filename).parent == Path(module).parent] or outer
    where = f"{Path(outer[-1].filename).name}:{outer[-1].lineno}" if outer else ""
    return {
        "type": type(error).__name__,
        "kinds": [each.__name__ for each in type(error).__mro__],
        "text": str(error)[:LONGEST],
        "where": where,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
