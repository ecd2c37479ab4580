"""How long the command line takes to start, against Python alone and against one import of torch.

Each command is started in a fresh process, in turn with the others, so that a busy moment hits all
of them; the median of its times is printed with its ratio to `python -c pass`. "first" is the first
start of all, with `--cold` after the system dropped the files that it holds in memory (needs root).

    python benchmarks/startup.py
    python benchmarks/startup.py --repeats 20 --cold
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

MAIN = "from harmobench.cli import main; main()"
COMPLETE = {"_HARMOBENCH_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
COMPLETE["COMP_WORDS"] = "harmobench run --methods raw,whi"
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "python -c pass": (["-c", "pass"], {}),
    "import harmobench": (["-c", "import harmobench"], {}),
    "harmobench --help": (["-c", MAIN, "--help"], {}),
    "harmobench run --help": (["-c", MAIN, "run", "--help"], {}),
    "harmobench --version": (["-c", MAIN, "--version"], {}),
    "harmobench list": (["-c", MAIN, "list"], {}),
    "a completed word": (
        ["-c", "import sys; sys.argv[0] = 'harmobench'; " + MAIN],
        COMPLETE,
    ),
    "import pandas": (["-c", "import pandas"], {}),
    "import torch": (["-c", "import torch"], {}),
}
DROP = Path("/proc/sys/vm/drop_caches")


def seconds(arguments: Sequence[str], environment: dict[str, str]) -> float:
    """Time one start, s."""
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - begun


def main() -> None:
    """Time every command and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--cold", action="store_true")
    asked = parser.parse_args()
    first = {}
    for name, command in COMMANDS.items():
        if asked.cold:
            os.sync()
            DROP.write_text("3", encoding="ascii")
        first[name] = seconds(*command)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(asked.repeats):
        for name, command in COMMANDS.items():
            times[name].append(seconds(*command))
    base = statistics.median(times["python -c pass"])
    print(f"| {'command':<22} | {'median, s':>9} | {'slowest':>7} | {'first':>6} | {'ratio':>6} |")
    print("|---|---|---|---|---|")
    for name, found in times.items():
        median = statistics.median(found)
        print(
            f"| {name:<22} | {median:9.3f} | {max(found):7.3f} | {first[name]:6.3f} "
            f"| {median / base:6.1f} |"
        )


if __name__ == "__main__":
    main()
