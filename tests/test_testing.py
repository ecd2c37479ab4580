"""`harmobench check` and `harmobench.testing`: broken plugins are caught, each by its rule."""

from __future__ import annotations

import io
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harmobench.errors import PluginError
from harmobench.tasks import check_image
from harmobench.testing import rules_of, verdicts
from harmobench.testing.checks import check, plugin_of
from harmobench.testing.images import image_faults
from harmobench.testing.pickles import content_fault
from harmobench.testing.play import can_unshare
from harmobench.testing.rule import Verdict
from harmobench.testing.rules import RULES

METHODS = {
    "WrongShape": "shape",
    "WrongAffine": "grid",
    "LeaksTheMatch": "no-leak",
    "RemembersSubjects": "no-names",
    "ChangesItsInput": "keeps-inputs",
    "ChangesTheMask": "keeps-inputs",
    "NeedsTheNetwork": "no-network",
    "RandomWithoutSeed": "deterministic",
    "ReturnsNaN": "finite",
    "SavesAPickle": "no-pickle",
    "Prints": "quiet",
    "Dies": "survives",
    "Crashes": "survives",
    "ForgetsOnSave": "save-load",
    "Drifts": "independent",
    "DriftsLate": "independent",
    "SeedsByDigits": "no-names",
    "KnowsItsScanners": "unseen-scanner",
    "TakesAnyAge": "covariates",
    "WritesElsewhere": "own-folder",
}
FACTS: dict[str, Any] = {"grid": "", "dtype": "float32"}


def first_failure(target: str, kind: str, **more: Any) -> Verdict:
    """Return the first rule that fails; nothing is played after it."""
    found = check(plugin_of(f"broken_plugins.{target}", kind), **more)
    return next(verdict for verdict in found if verdict.status == "failed")


@pytest.mark.parametrize(("name", "rule"), METHODS.items())
def test_a_broken_method_is_caught_by_its_rule(name: str, rule: str) -> None:
    verdict = first_failure(f"methods:{name}", "methods")
    assert verdict.rule.name == rule
    assert verdict.found


def test_a_method_that_hangs_is_caught_once_and_where_it_hung_is_said() -> None:
    found = verdicts("broken_plugins.methods:Hangs", time_limit=1.5)
    assert [name for name, v in found.items() if v.status == "failed"] == ["in-time"]
    assert re.search(
        r"'fit' took longer than 1.5 s, at methods.py:\d+ in fit", found["in-time"].found
    )
    assert found["seven-scanners"].status == "not reached"
    assert {rule.name for rule in rules_of("methods")} == set(found)


def test_a_program_that_is_left_running_is_caught_and_ended() -> None:
    verdict = first_failure("methods:LeavesAProgram", "methods")
    assert verdict.rule.name == "no-orphans"
    assert verdict.found == "'sleep 123.25' ran on after 'first'"
    alive = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
    assert ["sleep", "123.25"] not in alive


def test_a_fit_on_the_scans_that_are_judged_is_told() -> None:
    found = check(plugin_of("broken_plugins.methods:LearnsFromAll", "methods"))
    verdict = next(verdict for verdict in found if verdict.rule.name == "no-leak")
    assert verdict.status == "passed"
    assert "fitted on the scans that it is judged on" in verdict.found


def test_a_slow_import_is_caught() -> None:
    verdict = first_failure("slow:ImportsPandas", "methods")
    assert verdict.rule.name == "quick-import"
    assert "pandas" in verdict.found


@pytest.fixture
def listening() -> Iterator[int]:
    """Return a port of this machine that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


@pytest.mark.skipif(not can_unshare(), reason="unshare -rn is not permitted here")
def test_a_program_that_uses_the_network_is_caught(listening: int) -> None:
    found = check(
        plugin_of("broken_plugins.methods:LetsAnotherCall", "methods"), {"port": listening}
    )
    status: dict[str, Verdict] = {}
    while "no-network" not in status:
        verdict = next(found)
        status[verdict.rule.name] = verdict
    assert status["runs"].status == "passed"
    assert "where the network was taken away" in status["no-network"].found


def test_rules_have_names_of_their_own_and_say_how_to_mend() -> None:
    for rules in RULES.values():
        assert len({rule.name for rule in rules}) == len(rules)
        for rule in rules:
            assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
            assert rule.expects
            assert rule.mend


def _broken_images() -> Iterator[tuple[str, Any]]:
    image = np.random.default_rng(0).uniform(1, 2, (4, 4, 4)).astype(np.float32)
    brain = np.zeros((4, 4, 4), dtype=bool)
    brain[:, :2] = True
    inside = np.where(brain, image, 0)
    yield "", inside
    yield "shape", inside[1:]
    yield "finite", np.where(brain, np.inf, 0)
    yield "finite", np.where(image > 1.9, np.nan, inside)
    yield "dtype", inside.astype(np.float64) * 1e300
    yield "mask", image
    yield "contrast", np.where(brain, 3, 0)
    yield "grid", np.where(brain, image[::-1], 0)


@pytest.mark.parametrize(("rule", "voxels"), list(_broken_images()))
def test_images_are_judged_as_a_run_judges_them(rule: str, voxels: Any) -> None:
    """But for `grid`, which a run cannot see without a sound image to compare with."""
    raw = next(_broken_images())[1]
    brain = raw > 0
    found = [broken.name for broken, _ in image_faults(voxels, raw, brain, FACTS)]
    assert found == [rule] * bool(rule)
    if rule in ("", "grid"):
        check_image(voxels.astype(np.float32), brain, "x")
    else:
        with np.errstate(over="ignore"), pytest.raises(PluginError):
            check_image(voxels.astype(np.float32), brain, "x")


def _saved(function: Any, *args: Any, **more: Any) -> bytes:
    stream = io.BytesIO()
    function(stream, *args, **more)
    return stream.getvalue()


def _as_torch_saves(pickled: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", b"\0\0\x80?" * 2)
    return stream.getvalue()


def test_pickles_are_found_in_whatever_they_are_wrapped() -> None:
    from safetensors.numpy import save

    data = {"a": [1, 2], "b": "text"}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert content_fault(pickle.dumps(data, protocol)) == "a pickle"
    assert "compressed" in content_fault(zlib.compress(pickle.dumps(data)))
    assert "archive" in content_fault(_as_torch_saves(pickle.dumps(data, 2)))
    objects = np.array([data], dtype=object)
    assert "objects" in content_fault(_saved(np.save, objects))
    assert "archive" in content_fault(_saved(np.savez, x=objects))
    sound = save({"w": np.ones(3)})
    for head in (sound, b"\2" + bytes(7) + b"{}"):
        assert content_fault(head + pickle.dumps(data)) == "of a kind that cannot be looked into"
    assert content_fault(bytes(range(256))) == "of a kind that cannot be looked into"
    for harmless in (
        b'{"mean": 1.0}',
        b"",
        "name,mean\nä,1\n".encode(),
        save({"w": np.ones(3)}),
        _saved(np.save, np.ones(3)),
        _saved(np.savez_compressed, x=np.ones(3)),
    ):
        assert content_fault(harmless) == ""


def _command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harmobench.cli", "check", *arguments],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_command_says_what_to_mend_and_gives_its_status(tmp_path: Path) -> None:
    made = tmp_path / "site" / "broken_plugins-1.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugins\nVersion: 1.0\n")
    points = "[harmobench.methods]\nshifty = broken_plugins.methods:Dies\n"
    (made / "entry_points.txt").write_text(points)
    tests = Path(__file__).parent
    (tmp_path / "site" / "broken_plugins").symlink_to(tests / "broken_plugins")
    done = _command("shifty", folder=tmp_path / "site")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "shifty: method broken_plugins.methods:Dies, from broken-plugins 1.0" in done.stdout
    found = re.search(r"FAILED +survives\n +expected: .*\n +found: +(.*\n.*)\n +mend:", done.stdout)
    assert found is not None
    assert "the process ended at 'transform of 01 on GE' (exit status 0)" in " ".join(
        found[1].split()
    )
    unknown = _command("shifti", folder=tmp_path / "site")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "is 'shifty' meant?" in unknown.stderr
