"""What goes wrong while a run is at work: plugins that misbehave, interrupts, a full disk."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from harmobench.results import SCORE_COLUMNS, read_table

COMMAND = [sys.executable, "-m", "harmobench.cli"]
BODIES = {
    "hangs": "time.sleep(600)",
    "starts": "os.system('exec sleep 6120')",
    "leaks": "kept = [bytearray(b'x' * 20_000_000) for _ in iter(lambda: time.sleep(0.02), 0)]",
    "crashes": "ctypes.string_at(0)",
    "killed": "os.kill(os.getpid(), 9)",
    "exits": "sys.exit(3)",
    "prints": "print('garbage'); os.system('echo from a program'); os.write(2, b'\\x1b[2J')",
    "notnumber": "voxels = voxels * np.nan",
    "shape": "voxels = voxels[1:]",
    "flat": "voxels = voxels * 0",
    "words": "voxels = voxels.astype(str)",
    "nothing": "return None",
    "affine": "return dataclasses.replace(scan, image=scan.image)",
    "recursion": "f = lambda x: f(x); f(1)",
    "interrupts": "raise KeyboardInterrupt",
}
REASONS = {
    "hangs": r"took longer than a task may take \(8 s; --time-limit\)",
    "starts": r"took longer than a task may take \(8 s; --time-limit\)",
    "leaks": r"its worker used all the memory that it may have \(1 GB\), 2 times",
    "crashes": r"its worker crashed 2 times while doing this \(Segmentation fault\)",
    "killed": r"its worker died 2 times while doing this \(killed, or no memory left",
    "exits": "SystemExit: 3",
    "notnumber": "returned [0-9]+ NaN or inf voxels",
    "shape": r"returned \(\d+, \d+, \d+\) voxels, expected",
    "flat": "returned one value for the whole brain",
    "words": "returned voxels of type <U",
    "nothing": "expected transform to return .*, found NoneType",
    "affine": r"expected transform to return scan.with_voxels\(array\), found Scan",
    "recursion": "RecursionError: maximum recursion depth",
    "interrupts": "KeyboardInterrupt",
}


def install(folder: Path, bodies: dict[str, str]) -> Path:
    """Write a package as pip would install it, with a method for each body of a transform.

    Every body runs on subject 02 on GE alone.
    """
    info = folder / "harmobench_faulty-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: harmobench-faulty\nVersion: 0.1\n")
    points = [f"{name} = harmobench_faulty:{name.title()}" for name in bodies]
    (info / "entry_points.txt").write_text("\n".join(["[harmobench.methods]", *points, ""]))
    classes = [
        "import ctypes, dataclasses, os, sys, time\n"
        "import numpy as np\n"
        "from harmobench.base import Method\n"
        "from harmobench.interface import Reference\n"
    ]
    for name, body in bodies.items():
        classes.append(
            f"@dataclasses.dataclass\nclass {name.title()}(Method):\n"
            "    reference = Reference('Faulty', 'Nobody', 2026)\n"
            "    def transform(self, scan):\n"
            "        voxels = scan.voxels()\n"
            "        if (scan.subject, scan.scanner) == ('02', 'GE'):\n"
            f"            {body}\n"
            "        return scan.with_voxels(voxels)\n"
        )
    (folder / "harmobench_faulty.py").write_text("\n".join(classes))
    return folder


def start(plugin: Path, *options: str) -> subprocess.Popen[str]:
    """Begin a run with these plugins."""
    return subprocess.Popen(
        [*COMMAND, "run", *options],
        env={**os.environ, "PYTHONPATH": str(plugin)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Status of a run, and what it printed."""
    try:
        text, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, text


@pytest.fixture(scope="module")
def misbehaved(
    cohort_csv: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, str, Path, Path]:
    folder = tmp_path_factory.mktemp("faults")
    plugin, out = install(folder / "plugin", BODIES), folder / "run"
    command = ["--cohort", str(cohort_csv), "--out", str(out), "--metrics", "auroc"]
    more = ["--methods", ",".join(["raw", *BODIES]), "--segmenters", "none", "--measures", "none"]
    limits = ["--workers", "2", "--time-limit", "8s", "--memory", "1GB"]
    return *ended(start(plugin, *command, *more, *limits)), out, plugin


def test_every_fault_becomes_rows_and_the_rest_is_done(
    misbehaved: tuple[int, str, Path, Path],
) -> None:
    status, text, out, _ = misbehaved
    assert status == 1, text
    scores = read_table(out / "scores", SCORE_COLUMNS)
    failed = scores[scores["status"] == "failed"]
    assert sorted(failed["method"].unique()) == sorted(REASONS)
    assert set(zip(failed["subject"], failed["scanner"], strict=True)) == {("02", "GE")}
    assert len(scores[scores["status"] == "ok"]) == len(scores) - len(REASONS)


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_says_what_happened(misbehaved: tuple[int, str, Path, Path], name: str) -> None:
    _, text, out, _ = misbehaved
    reasons = pd.read_csv(out / "failures.csv", dtype=str).set_index("method")["reason"]
    assert re.search(REASONS[name], reasons[name]), reasons[name]
    assert f"image {name} 02 GE" in text


def test_the_log_says_where_it_hung_and_where_it_crashed(
    misbehaved: tuple[int, str, Path, Path],
) -> None:
    logs = [path.read_text() for path in (misbehaved[2] / "logs").glob("*.log")]
    hung = next(text for text in logs if text.startswith("image hangs"))
    assert "Timeout" in hung
    assert "harmobench_faulty.py" in hung
    crashed = next(text for text in logs if text.startswith("image crashes"))
    assert "Segmentation fault" in crashed
    assert "harmobench_faulty.py" in crashed


def test_programs_that_it_started_end_with_it(misbehaved: tuple[int, str, Path, Path]) -> None:
    assert misbehaved[0] == 1
    lines = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", "6120"] not in lines


def test_what_plugins_print_is_kept_from_the_terminal(
    misbehaved: tuple[int, str, Path, Path],
) -> None:
    _, text, out, _ = misbehaved
    assert "garbage" not in text
    assert "\x1b[2J" not in text
    printed = [path.read_bytes() for path in out.glob("store/??/*/log.txt")]
    assert any(b"garbage" in t and b"from a program" in t and b"\x1b[2J" in t for t in printed)


def test_nothing_half_written_stays(misbehaved: tuple[int, str, Path, Path]) -> None:
    out = misbehaved[2]
    assert not list(out.rglob("*.partial"))
    assert not list((out / "running").glob("[!.]*"))
    for folder in out.glob("store/??/[!.]*"):
        assert (folder / "cost.json").is_file()


def test_failures_are_not_kept(
    misbehaved: tuple[int, str, Path, Path], cohort_csv: Path, tmp_path: Path
) -> None:
    _, _, out, plugin = misbehaved
    copy = shutil.copytree(out, tmp_path / "copy")
    status, text = ended(
        start(
            plugin,
            *("--cohort", str(cohort_csv), "--out", str(copy), "--metrics", "auroc"),
            *("--methods", "raw,notnumber,exits", "--segmenters", "none", "--measures", "none"),
            *("--workers", "1"),
        )
    )
    assert status == 1, text
    assert "failed: image notnumber 02 GE" in text  # it was tried again


def slow(folder: Path, seconds: int) -> Path:
    """Write a method that takes its time with every scan."""
    plugin = install(folder / "plugin", {"slow": "pass"})
    module = plugin / "harmobench_faulty.py"
    waits = f"(time.sleep({seconds}), scan.voxels())[1]"
    module.write_text(module.read_text().replace("scan.voxels()", waits))
    return plugin


def _at_work(out: Path) -> list[str]:
    texts = [p.read_text() for p in (out / "running").glob("[!.]*")] if out.exists() else []
    return [text for text in texts if text.startswith("image slow")]


def _wait_for(process: subprocess.Popen[str], out: Path) -> None:
    deadline = time.monotonic() + 120
    while not _at_work(out):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no task began"
        time.sleep(0.05)


@pytest.mark.parametrize("signals", [("INT",), ("INT", "INT"), ("TERM",)])
def test_interrupted_run_stops_cleanly_and_goes_on(
    cohort_csv: Path, tmp_path: Path, signals: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    finished = signals == ("INT",)  # the task in hand
    options = [
        *("--cohort", str(cohort_csv), "--out", str(out), "--methods", "slow"),
        *("--metrics", "auroc", "--segmenters", "none", "--measures", "none", "--workers", "1"),
    ]
    process = start(slow(tmp_path, 3 if finished else 60), *options)
    _wait_for(process, out)
    for number, name in enumerate(signals):
        time.sleep(0.5 * number)
        os.killpg(process.pid, getattr(signal, f"SIG{name}"))
    status, text = ended(process)
    assert status == 130, text
    assert text.count("interrupted: the same command goes on where this one stopped") == 1
    assert "Traceback" not in text
    assert ("1 task at work will be finished first" in text) == (len(signals) > 1 or finished)
    images = [p for p in out.glob("store/??/[!.]*/image.json") if '"slow"' in p.read_text()]
    assert len(images) == (1 if finished else 0)
    assert not (out / "scores.parquet").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only who may mount a small disk can fill it")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk_stops_the_run_and_loses_nothing(
    small_disk: Path, cohort_csv: Path, tmp_path: Path
) -> None:
    out = small_disk / "run"
    options = [
        *("--cohort", str(cohort_csv), "--out", str(out), "--methods", "raw,whitestripe,ravel"),
        *("--metrics", "ssim,auroc", "--segmenters", "none", "--measures", "none"),
        *("--workers", "2"),
    ]
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 2_700_000)
    status, text = ended(start(tmp_path, *options))
    assert status == 3, text
    assert "stopped: No space left on device" in text
    assert "give the same command again" in text
    assert "Traceback" not in text
    for folder in out.glob("store/??/[!.]*"):
        assert (folder / "cost.json").stat().st_size > 0
    subprocess.run(["mount", "-o", "remount,size=300m", str(small_disk)], check=True)
    status, text = ended(start(tmp_path, *options))
    assert status == 0, text


def test_disk_that_may_only_be_read_is_refused(
    small_disk: Path, cohort_csv: Path, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    status, text = ended(
        start(tmp_path, "--cohort", str(cohort_csv), "--out", str(small_disk / "run"))
    )
    assert status == 2
    assert "expected a place where a folder can be made" in text
