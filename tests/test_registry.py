"""Plugins as packages bring them: real distributions on the path, found by their entry points."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harmobench.errors import PluginError, SettingsError
from harmobench.registry import KINDS, Plugin, build, find, hash_files, plugins

PLUGIN = """
from dataclasses import dataclass, field

@dataclass
class Own:
    whole: int = 3
    part: float = 0.5
    word: str = "T1"
    on: bool = True
    pair: tuple[str, ...] = ("a", "b")
    unset: int | None = None
    many: list = field(default_factory=list)
    presets = {"quick": {"whole": 1, "part": 2}}

    def __post_init__(self):
        if self.whole < 0:
            raise ValueError("whole must not be negative")

class Bare:
    pass
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a distribution with one module and its entry points."""
    names = []

    def put(name: str, points: str, source: str = PLUGIN, version: str = "1.0") -> None:
        names.append(name)
        site = tmp_path / f"{name}-{version}"
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(points)
        (site / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()

    yield put
    for name in names:
        sys.modules.pop(name, None)


def own(**parameters: object) -> object:
    return build(find("methods", "own"), parameters)


def test_what_ships_comes_in_by_entry_points() -> None:
    for kind in KINDS:
        assert list(plugins(kind)) == sorted(plugins(kind))
    assert plugins("methods")["raw"].target == "harmobench.methods.raw:Raw"
    assert plugins("methods")["raw"].distribution.startswith("harmobench ")
    assert type(build(find("metrics", "ssim"))).__name__ == "SSIM"


def test_another_package_s_plugin_is_found_and_built(install: Install) -> None:
    install("acme", "[harmobench.methods]\nown = acme:Own\n")
    plugin = find("methods", "own")
    assert plugin == Plugin("own", "methods", "acme:Own", "acme 1.0")
    assert vars(build(plugin))["whole"] == 3
    assert "raw" in plugins("methods")


def test_an_unknown_name_proposes_the_nearest() -> None:
    with pytest.raises(PluginError, match=r"installed methods \(.*raw.*\), found 'whitestrip'; is"):
        find("methods", "whitestrip")
    with pytest.raises(PluginError, match=r"is 'whitestripe' meant\?"):
        find("methods", "whitestrip")
    with pytest.raises(PluginError, match=r"found 'xyzzy'$"):
        find("methods", "xyzzy")
    with pytest.raises(PluginError, match=r"one of the installed commands \(.*power.*\)"):
        find("commands", "apply")
    with pytest.raises(PluginError, match=r"expected one of methods, .*found 'method'"):
        plugins("method")


def test_one_name_in_two_packages_is_refused_naming_both(install: Install) -> None:
    install("acme", "[harmobench.methods]\nown = acme:Own\n")
    install("emca", "[harmobench.methods]\nown = emca:Own\n")
    with pytest.raises(PluginError) as caught:
        plugins("methods")
    for words in ("'own'", "acme 1.0 (acme:Own)", "emca 1.0 (emca:Own)", "uninstall one"):
        assert words in str(caught.value)
    assert "ssim" in plugins("metrics"), "other kinds are not touched"


def test_a_package_may_name_what_another_kind_names(install: Install) -> None:
    install("acme", "[harmobench.methods]\nown = acme:Own\n[harmobench.metrics]\nown = acme:Own\n")
    assert find("methods", "own").kind == "methods"
    assert find("metrics", "own").kind == "metrics"


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("import not_installed_here\n", "acme:Own", "ModuleNotFoundError.*not_installed_here"),
        ("def broken(:\n", "acme:Own", "SyntaxError"),
        ("raise RuntimeError('no licence')\n", "acme:Own", "RuntimeError: no licence"),
        ("", "acme:Own", "AttributeError.*Own"),
        ("", "acme_of_old:Own", "ModuleNotFoundError.*acme_of_old"),
    ],
)
def test_a_broken_plugin_says_why_and_leaves_the_rest(
    install: Install, source: str, target: str, reason: str
) -> None:
    install("acme", f"[harmobench.methods]\nown = {target}\n", source)
    plugin = find("methods", "own")
    with pytest.raises(PluginError, match=rf"'own' \({target}, from acme 1\.0\).*{reason}"):
        plugin.load()
    with pytest.raises(PluginError, match="uninstall acme"):
        build(plugin)
    assert build(find("methods", "raw")) is not None


def test_the_users_parameters_go_over_the_presets(install: Install) -> None:
    install("acme", "[harmobench.methods]\nown = acme:Own\n")
    plugin = find("methods", "own")
    for preset, given, expected in (
        ("default", {}, (3, 0.5)),
        ("quick", {}, (1, 2.0)),
        ("quick", {"whole": 7}, (7, 2.0)),
        ("paper", {"part": 1}, (3, 1.0)),
    ):
        built = build(plugin, given, preset)
        assert (built.whole, built.part) == expected
        assert isinstance(built.part, float)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [("whole", 5, 5), ("part", 2, 2.0), ("part", 0.1, 0.1), ("word", "T2", "T2"),
     ("on", False, False),
     ("pair", ["x", "y"], ("x", "y")), ("pair", "x", ("x",)), ("unset", 4, 4), ("unset", "a", "a"),
     ("many", [1], (1,)), ("whole", None, None)],
)  # fmt: skip
def test_a_parameter_that_fits_is_taken(
    install: Install, name: str, value: object, kept: object
) -> None:
    install("acme", "[harmobench.methods]\nown = acme:Own\n")
    if value is None:
        name = "unset"
    found = getattr(own(**{name: value}), name)
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("whole", 2.5, "int"), ("whole", "2", "int"), ("whole", True, "int"), ("part", "x", "float"),
     ("part", False, "float"), ("word", 3, "str"), ("on", 1, "bool"), ("on", "yes", "bool"),
     ("word", ["T1"], "str")],
)  # fmt: skip
def test_a_parameter_of_another_type_is_refused(
    install: Install, name: str, value: object, expected: str
) -> None:
    install("acme", "[harmobench.methods]\nown = acme:Own\n")
    with pytest.raises(
        SettingsError, match=rf"'own\.{name}': expected {expected} \(such as.*found"
    ):
        own(**{name: value})


def test_an_unknown_parameter_proposes_the_nearest_and_lists_all(install: Install) -> None:
    points = "[harmobench.methods]\nown = acme:Own\nbare = acme:Bare\n"
    install("acme", points)
    with pytest.raises(
        SettingsError, match=r"no parameter 'hole'; is 'whole' meant\?.*whole, part"
    ):
        own(hole=3)
    with pytest.raises(SettingsError, match=r"no parameter 'x'; it has: none"):
        build(find("methods", "bare"), {"x": 1})
    assert build(find("methods", "bare")) is not None


def test_a_class_may_refuse_its_parameters_itself(install: Install) -> None:
    install("acme", "[harmobench.methods]\nown = acme:Own\n")
    with pytest.raises(SettingsError, match=r"'own' refused its parameters: whole must not be"):
        own(whole=-1)


def digest_of(module: str) -> str:
    return Plugin("x", "methods", f"{module}:X", "x 1").digest()


def test_a_digest_is_of_the_source_and_changes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, source in (("pack_a", "x = 1\n"), ("pack_b", "x = 1\n"), ("pack_c", "x = 2\n")):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "deep" / "__init__.py").write_text(source)
    (tmp_path / "alone.py").write_text("x = 1\n")
    importlib.invalidate_caches()
    assert digest_of("pack_a") == digest_of("pack_b"), "what it is called is no matter"
    assert digest_of("pack_a") != digest_of("pack_c"), "a file deep inside counts"
    (tmp_path / "another.py").write_text("y = 1\n")
    assert digest_of("alone") == hash_files([tmp_path / "alone.py"], tmp_path)
    with pytest.raises(PluginError, match="Python module 'nowhere_to_be_found', found none"):
        digest_of("nowhere_to_be_found")


def test_a_digest_knows_names_and_contents_apart(tmp_path: Path) -> None:
    for name, files in (
        ("one", {"a.py": "1", "b.py": "2"}),
        ("same", {"a.py": "1", "b.py": "2"}),
        ("swapped", {"a.py": "2", "b.py": "1"}),
        ("renamed", {"a.py": "1", "c.py": "2"}),
        ("joined", {"a.py": "12", "b.py": ""}),
    ):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    digests = {
        folder.name: hash_files(sorted(folder.iterdir()), folder) for folder in tmp_path.iterdir()
    }
    assert digests.pop("same") == digests["one"]
    assert len(set(digests.values())) == len(digests)


def test_a_method_s_own_preset_is_reached_by_name() -> None:
    mispel = find("methods", "mispel")
    chosen = build(mispel, {"preset": "published-code", "latent": 4})
    assert (chosen.decoder_activation, chosen.learning_rate, chosen.latent) == ("relu", 0.01, 4)
    assert build(mispel, {"preset": "paper"}, preset="quick").warm_steps == 0
    with pytest.raises(SettingsError, match="found 'published'; is 'published-code' meant"):
        build(mispel, {"preset": "published"})


def test_names_with_commas_are_a_list() -> None:
    mispel = build(find("methods", "mispel"), {"orientations": "axial,sagittal"})
    assert mispel.orientations == ("axial", "sagittal")
    grid = build(find("methods", "mispel"), {"lambda2s": "0.1,1", "latents": "4, 6"})
    assert (grid.lambda2s, grid.latents) == ((0.1, 1), (4, 6))
