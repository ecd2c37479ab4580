"""Every metric says what it reads, what is better and whom to cite, and shows an example."""

import dataclasses
import doctest
import sys
from typing import get_args

import pytest

from harmobench.interface import Better, Reference
from harmobench.registry import build, plugins

OWN = {name: p for name, p in plugins("metrics").items() if p.target.startswith("harmobench.")}
LEVELS, READS = {"scan", "pair", "cohort"}, {"image", "segmentation", "measures"}


@pytest.fixture(params=sorted(OWN))
def plugin(request):
    return OWN[request.param]


@pytest.fixture
def metric(plugin):
    return plugin.load()


def test_the_suite_is_complete():
    assert set(OWN) >= {
        *("ssim", "auroc", "volume", "dice", "biomarker", "slice_consistency"),
        *("sharpness", "noise", "identifiability", "individuality"),
        *("volume_error", "truth_dice", "truth_rmse"),
    }


def test_it_declares_what_it_is(metric):
    assert metric.level in LEVELS
    assert metric.reads in READS
    assert metric.space in {"template", "native"}
    assert metric.better in get_args(Better)
    assert isinstance(metric.units, str)
    low, high = metric.range
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low < high


def test_its_range_holds_what_is_best(metric):
    low, high = metric.range
    best = {"one": 1.0, "zero": 0.0}.get(metric.better)
    assert best is None or low <= best <= high
    assert metric.better != "higher" or high < float("inf")
    assert metric.better != "lower" or low > float("-inf")


def test_it_names_its_structures(metric):
    assert metric.structures
    assert all(isinstance(name, str) and name for name in metric.structures)
    assert len(set(metric.structures)) == len(metric.structures)
    assert not any(name.endswith(("_chance", "_without")) for name in metric.structures)


def test_it_cites_a_publication(metric):
    reference = metric.reference
    assert isinstance(reference, Reference)
    assert all((reference.title, reference.authors, reference.key))
    assert 1900 < reference.year < 2100
    assert not reference.doi.startswith(("http", "doi:"))


def test_its_truth_is_columns_of_the_manifest(metric):
    columns = getattr(metric, "truth", ())
    assert isinstance(columns, tuple)
    assert all(column.startswith("truth_") for column in columns)


def test_it_is_documented(metric):
    assert metric.__doc__
    assert not metric.__doc__.startswith(f"{metric.__name__}(")  # what dataclasses write
    assert metric.__doc__.splitlines()[0].endswith(".")
    for each in dataclasses.fields(metric):
        assert f"    {each.name}\n" in metric.__doc__, f"parameter {each.name}"


def test_its_module_shows_an_example(plugin, metric):
    module = sys.modules[metric.__module__]
    assert module.__doc__
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert found


def test_it_is_built_without_parameters(plugin, metric):
    built = build(plugin)
    assert isinstance(built, metric)
    assert all(callable(getattr(built, name)) for name in ("prepare", "merge", "score"))
