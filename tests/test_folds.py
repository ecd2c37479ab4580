"""Cross-validation by subject: nobody is trained on and tested at once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harmobench.cohort import Cohort, Scan
from harmobench.errors import SettingsError
from harmobench.folds import assign, assign_each, assign_from_column, describe, fold_count, split

SCANNERS = ("GE", "Philips", "Siemens")


def cohort_of(seen: dict[str, int], folds: dict[str, str] | None = None) -> Cohort:
    """Make a cohort of subjects on so many scanners each; no file is ever opened."""
    values = {s: {"fold": (folds or {}).get(s, "")} for s in seen}
    return Cohort(
        tuple(
            Scan(subject, scanner, Path("none.nii.gz"), values=values[subject])
            for subject, count in seen.items()
            for scanner in SCANNERS[:count]
        )
    )


@st.composite
def divisions(draw: st.DrawFn) -> tuple[Cohort, int, int, dict[str, str]]:
    """Draw a cohort, a number of folds that it is large enough for, a seed and groups."""
    count = draw(st.integers(2, 6))
    matched = draw(st.integers(2 * count, 2 * count + 9))
    unmatched = draw(st.integers(0, 4))
    names = draw(st.permutations([f"{i:02d}" for i in range(matched + unmatched)]))
    seen = {name: 1 if i < unmatched else draw(st.integers(2, 3)) for i, name in enumerate(names)}
    groups = {name: draw(st.sampled_from(["high", "low"])) for name in names}
    order = draw(st.permutations(list(seen)))
    return cohort_of({name: seen[name] for name in order}), count, draw(st.integers(0, 99)), groups


@settings(deadline=None, max_examples=50)
@given(divisions())
def test_every_subject_is_tested_just_once_and_test_sets_are_alike(
    division: tuple[Cohort, int, int, dict[str, str]],
) -> None:
    cohort, count, seed, groups = division
    folds = assign(cohort, count, seed, groups)
    assert sorted(folds) == sorted(cohort.subjects)
    tested = [s for k in range(count) for s in split(cohort, folds, k).test]
    assert sorted(tested) == sorted(cohort.subjects)
    for subjects in (cohort.subjects, cohort.matched):
        sizes = Counter(folds[s] for s in subjects)
        assert max(sizes.values()) - min(sizes[k] for k in range(count)) <= 1
    assert min(Counter(folds[s] for s in cohort.matched).values()) >= 2


@settings(deadline=None, max_examples=50)
@given(divisions())
def test_groups_are_balanced_over_the_folds(
    division: tuple[Cohort, int, int, dict[str, str]],
) -> None:
    cohort, count, seed, groups = division
    folds = assign(cohort, count, seed, groups)
    for group in ("high", "low"):
        sizes = Counter(folds[s] for s in cohort.matched if groups[s] == group)
        each = [sizes[k] for k in range(count)]
        assert max(each) - min(each) <= 1


@settings(deadline=None, max_examples=50)
@given(divisions())
def test_test_validation_and_training_share_nobody(
    division: tuple[Cohort, int, int, dict[str, str]],
) -> None:
    cohort, count, seed, groups = division
    folds = assign(cohort, count, seed, groups)
    for fold in range(count):
        parts = split(cohort, folds, fold)
        everyone = [*parts.test, *parts.validation, *parts.training]
        assert len(everyone) == len(set(everyone))
        assert set(cohort.matched) <= set(everyone)
        assert not set(parts.validation + parts.training) & set(cohort.unmatched)
        assert bool(parts.validation) == (count > 2)
        order = [s for s in cohort.subjects if s in parts.training]
        assert list(parts.training) == order, "the manifest's order"


@settings(deadline=None, max_examples=50)
@given(divisions(), st.randoms(use_true_random=False))
def test_folds_follow_the_seed_and_not_the_order_of_rows(
    division: tuple[Cohort, int, int, dict[str, str]], random: object
) -> None:
    cohort, count, seed, groups = division
    rows = list(cohort.scans)
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert assign(Cohort(tuple(rows)), count, seed, groups) == assign(cohort, count, seed, groups)


def test_another_seed_gives_other_folds() -> None:
    cohort = cohort_of({f"{i:02d}": 2 for i in range(12)})
    assert len({tuple(sorted(assign(cohort, 6, seed).items())) for seed in range(10)}) > 5


@pytest.mark.parametrize(
    ("subjects", "asked", "most", "count"),
    [(4, None, 6, 2), (5, None, 6, 2), (6, None, 6, 3), (12, None, 6, 6), (90, None, 6, 6),
     (12, None, 3, 3), (12, 4, 6, 4), (20, 10, 6, 10)],
)  # fmt: skip
def test_the_number_of_folds(subjects: int, asked: int | None, most: int, count: int) -> None:
    assert fold_count(subjects, asked, most) == count


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.none() | st.integers(-2, 12))
def test_every_count_that_is_given_leaves_two_to_test_and_two_to_train(
    subjects: int, asked: int | None
) -> None:
    if (2 if asked is None else asked) < 2 or subjects < 2 * (asked or 2):
        with pytest.raises(SettingsError, match="at least"):
            fold_count(subjects, asked)
        return
    count = fold_count(subjects, asked)
    cohort = cohort_of({f"{i:02d}": 2 for i in range(subjects)})
    folds = assign(cohort, count, 0)
    for fold in range(count):
        parts = split(cohort, folds, fold)
        assert len(parts.test) >= 2
        assert len(parts.training) >= 2


def test_too_few_subjects_say_how_many_are_needed() -> None:
    with pytest.raises(SettingsError, match=r"at least 4 matched subjects.*found 3.*fewer folds"):
        fold_count(3, None)
    with pytest.raises(SettingsError, match=r"at least 10 matched subjects for 5 folds.*found 9"):
        fold_count(9, 5)
    with pytest.raises(SettingsError, match=r"--folds: expected at least 2, found 1"):
        fold_count(9, 1)


def test_too_few_to_train_on_are_refused() -> None:
    folds = {"01": 0, "02": 1, "03": 2}
    with pytest.raises(SettingsError, match=r"fold 0: expected at least 2 training.*found 1"):
        split(cohort_of(dict.fromkeys(folds, 2)), folds, 0)


def test_the_manifests_own_folds_are_taken() -> None:
    named = {"01": "b", "02": "a", "03": "c", "04": "a", "05": "b", "06": "c"}
    cohort = cohort_of(dict.fromkeys(named, 2), named)
    folds = assign_from_column(cohort)
    assert folds == {"01": 1, "02": 0, "03": 2, "04": 0, "05": 1, "06": 2}
    parts = split(cohort, folds, 2)
    assert (parts.test, parts.validation, parts.training) == (
        ("03", "06"),
        ("02", "04"),
        ("01", "05"),
    )
    assert assign_from_column(cohort_of({"01": 2, "02": 2})) is None


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["1", "2", "3"]), min_size=2))
def test_own_folds_keep_together_who_was_put_together(named: dict[str, str]) -> None:
    assume(len(set(named.values())) > 1)
    folds = assign_from_column(cohort_of(dict.fromkeys(named, 2), named))
    assert folds is not None
    assert sorted(set(folds.values())) == list(range(len(set(named.values()))))
    for one in named:
        for other in named:
            assert (folds[one] == folds[other]) == (named[one] == named[other])


@pytest.mark.parametrize(
    ("named", "text"),
    [({"01": "1", "02": ""}, "subject 02"), ({"01": "1", "02": "1"}, "at least 2 folds, found 1")],
)
def test_faulty_folds_of_the_manifest_are_refused(named: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=f"column fold.*{text}"):
        assign_from_column(cohort_of(dict.fromkeys(named, 2), named))


def test_one_subject_in_two_folds_is_refused() -> None:
    scans = [Scan("01", "A", Path("n"), values={"fold": "1"})]
    scans += [Scan("01", "B", Path("n"), values={"fold": "2"})]
    with pytest.raises(SettingsError, match=r"one value for all scans of subject 01.*'2' and '1'"):
        assign_from_column(Cohort(tuple(scans)))


def test_folds_are_described_by_their_sizes() -> None:
    assert describe({"01": 0, "02": 1, "03": 0}) == "2 folds of 2, 1 subjects"


def partition(folds: dict[str, int]) -> frozenset[frozenset[str]]:
    parts = ({s for s, k in folds.items() if k == fold} for fold in set(folds.values()))
    return frozenset(frozenset(part) for part in parts)


@pytest.mark.parametrize("seed", range(5))
def test_no_repeat_has_the_partition_of_another_while_others_are_left(seed: int) -> None:
    """Six people in pairs: fifteen partitions."""
    people = cohort_of({f"{i:02d}": 2 for i in range(6)})
    found = assign_each(people, 3, seed, 5)
    assert len({partition(folds) for folds in found}) == 5
    assert found[0] == assign(people, 3, seed)
    assert found[:3] == assign_each(people, 3, seed, 3), "more repeats keep the earlier ones"


def test_partitions_repeat_where_there_are_no_more() -> None:
    """Four people in two pairs: three partitions."""
    found = assign_each(cohort_of({f"{i:02d}": 2 for i in range(4)}), 2, 0, 6)
    assert len(found) == 6
    assert len({partition(folds) for folds in found}) == 3
