"""From a job to tasks: pure data, made and shown without computing anything.

A task's key is a Merkle hash of all that its result depends on: the keys of the tasks it needs,
file contents at the leaves, its plugin's source, the kernel's, library versions, parameters, seed,
device and threads. A plan is made anew when tasks have failed: what can still be scored without
them is scored, under keys that say so, and what cannot becomes a gap with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harmobench.base import Stateless
from harmobench.cohort import place_of
from harmobench.errors import PluginError
from harmobench.folds import Split, split
from harmobench.interface import CONTROLS
from harmobench.job import Job
from harmobench.measure_plan import plan_measures
from harmobench.parts import Part
from harmobench.store import merkle
from harmobench.task import Task

NEEDS_TISSUE = "tissue"
TISSUE_SEGMENTER = "hmrf"  # whatever --segmenters says: RAVEL's control voxels stay the same


@dataclass(frozen=True)
class Gap:
    """Scores that cannot be had, and why.

    Attributes
    ----------
    args
        method, metric, tool, repeat, subject, scanner, reference_scanner.
    status, reason
        As the rows will have them.
    """

    args: Mapping[str, Any]
    status: str
    reason: str


@dataclass
class Plan:
    """Tasks in an order in which each comes after what it needs.

    Attributes
    ----------
    tasks
        By key.
    gaps
        Scores that cannot be had.
    images
        (method, repeat, subject, scanner) to the task that makes the image.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    images: dict[tuple[str, int, str, str], str] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[Task]:
        """Tasks of one kind, in order."""
        return [task for task in self.tasks.values() if task.kind == kind]


def make_plan(job: Job, failed: Mapping[str, str] | None = None) -> Plan:
    """Plan a job around tasks that are known to fail.

    Parameters
    ----------
    job
        What to do.
    failed
        Key of each failed task to its reason.
    """
    _refuse_inputs(job)
    planner = _Planner(job, dict(failed or {}))
    planner.all_methods()
    return planner.plan


def plan_final(job: Job, method: str) -> tuple[Plan, str | None]:
    """Plan the fit of one method on all subjects, for scans outside the cohort.

    Returns
    -------
    tuple
        The tasks that it needs, and the key of the fit; None for a method that is fitted on nothing
        (then the common brain mask alone is planned).
    """
    planner = _Planner(job, {})
    part = job.part("methods", method)
    planner.space()
    key = None if part.individual else planner.fit(part, 0, -1)
    return planner.plan, key


def _refuse_inputs(job: Job) -> None:
    """Refuse a shared input that no method can give: one fitted on scans would see the test set."""
    for part in job.methods:
        for name in part.needs["inputs"]:
            if name == NEEDS_TISSUE:
                continue
            given = job.part("methods", name)
            if not given.individual or given.needs["inputs"] or given.needs["sees"] != "scan":
                raise PluginError(
                    f"method '{part.name}' needs the shared input '{name}': expected tissue, or a "
                    "method that is fitted on no scan and needs no input itself"
                )


class _Planner:
    """Adds tasks to a plan, each once, and remembers which cannot be done."""

    def __init__(self, job: Job, failed: dict[str, str]) -> None:
        self.job = job
        self.broken = failed
        self.plan = Plan()
        self.rows = {(row["subject"], row["scanner"]): row for row in job.scans}
        self.by_subject: dict[str, list[tuple[str, str]]] = {}
        for scan in self.rows:
            self.by_subject.setdefault(scan[0], []).append(scan)
        self.cohort = job.cohort
        self.metric_traits = {part.name: _traits(part) for part in job.metrics}
        self.base = merkle(job.kernel, dict(job.environment), job.threads)
        self.known: dict[tuple[Any, ...], str] = {}  # keys that many tasks ask for again
        self.scored: dict[tuple[str, str, str], str] = {}  # RAW's: metric, tool, subject to key
        self.scans_scored: dict[str, list[tuple[str, str]]] = {}  # by that key

    def all_methods(self) -> None:
        of_images = [part for part in self.job.methods if part.changes == "images"]
        for part in of_images:
            for repeat in self.repeats(part):
                for scan in self.rows:
                    self.plan.images[part.name, repeat, *scan] = self.image(part, repeat, *scan)
        for part in of_images:
            for repeat in self.repeats(part):
                for metric in self.job.metrics:
                    self.metric(part, repeat, metric)
                if repeat == 0:
                    self.mosaic(part, {scan: self.picture(part, *scan) for scan in self.rows})
        for part in self.job.methods:  # RAW's scores are planned: measures are changed from them
            for repeat in self.repeats(part) if part.changes == "measures" else ():
                for metric in self.job.metrics:
                    plan_measures(self, part, repeat, metric)

    def repeats(self, part: Part) -> range:
        return range(len(self.job.folds) if part.needs["folds"] else 1)

    def add(
        self,
        kind: str,
        needs: Mapping[str, str],
        args: Mapping[str, Any],
        *identity: Any,
        heavy: bool = False,
    ) -> str:
        key = merkle(kind, self.base, sorted(needs.items()), *identity)
        reason = next((self.broken[k] for k in needs.values() if k in self.broken), None)
        if key in self.broken:
            return key
        if reason is not None:
            self.broken[key] = reason
        else:
            self.plan.tasks.setdefault(key, Task(key, kind, dict(needs), dict(args), heavy))
        return key

    # --- images -------------------------------------------------------------------------------

    def space(self) -> str:
        return self.once(("space",), self.make_space)

    def make_space(self) -> str:
        masks = sorted({row["hashes"][row["mask"]] for row in self.job.scans if row["mask"]})
        grid = self.cohort.scans[0].grid
        where = [list(grid.shape), [round(x, 6) for x in grid.matrix]]
        return self.add("space", {}, {}, self.job.atlas["digest"], where, masks)

    def image(self, part: Part, repeat: int, subject: str, scanner: str) -> str:
        repeat = repeat if part.needs["folds"] else 0
        return self.once(
            ("image", part.name, repeat, subject, scanner),
            lambda: self.make_image(part, repeat, subject, scanner),
        )

    def once(self, name: tuple[Any, ...], make: Callable[[], str]) -> str:
        if name not in self.known:
            self.known[name] = make()
        return self.known[name]

    def make_image(self, part: Part, repeat: int, subject: str, scanner: str) -> str:
        row = self.rows[subject, scanner]
        needs = {"space": self.space()}
        args = {
            "method": part.name,
            "subject": subject,
            "scanner": scanner,
            "repeat": repeat,
            "fold": self.fold_of(part, repeat, subject),
        }
        identity: list[Any] = [part.identity]
        if part.images:
            made = Path(part.images[place_of(subject, scanner)])
            args["content"] = self.job.content_elsewhere(made)
            identity.append(args["content"])
        elif part.name == "raw":
            identity.append(row["hashes"][row["image"]])
        else:
            needs |= self.inputs(part, subject, scanner)
            needs["raw"] = self.raw(subject, scanner)
            others = self.others(part, subject)
            needs |= others
            identity.append(list(others))  # in their order
            if not part.individual:
                fold = self.fold_of(part, repeat, subject)
                needs["fit"] = self.fit(part, repeat, fold)
        identity.append([subject, scanner, self.labels(part, row["values"])])
        return self.add("image", needs, args, *identity)

    def fold_of(self, part: Part, repeat: int, subject: str) -> int:
        return int(self.job.folds[repeat][subject]) if part.needs["folds"] else -1

    def raw(self, subject: str, scanner: str) -> str:
        return self.image(self.job.part("methods", "raw"), 0, subject, scanner)

    def inputs(self, part: Part, subject: str, scanner: str) -> dict[str, str]:
        found = {}
        for name in part.needs["inputs"]:
            if name == NEEDS_TISSUE:
                found[f"input:{name}"] = self.tissue(subject, scanner)
            else:
                found[f"input:{name}"] = self.image(
                    self.job.part("methods", name), 0, subject, scanner
                )
        return found

    def others(self, part: Part, subject: str) -> dict[str, str]:
        """RAW of the scans that a control may look at, in the manifest's order."""
        sees = part.needs["sees"]
        if sees == "cohort":
            return {"everyone": self.once(("everyone",), self.everyone)}
        return {
            f"other:{place_of(*scan)}": self.raw(*scan)
            for scan in self.by_subject[subject]
            if sees == "subject"
        }

    def everyone(self) -> str:
        """List all RAW once: as needs of each image they would grow with the cohort's square."""
        needs = {f"raw:{place_of(*scan)}": self.raw(*scan) for scan in self.rows}
        order = [list(scan) for scan in self.rows]
        return self.add("everyone", needs, {"order": order}, order)

    def tissue(self, subject: str, scanner: str) -> str:
        row = self.rows[subject, scanner]
        path = row["values"].get("tissue", "")
        args = {"subject": subject, "scanner": scanner}
        if path:
            return self.add("tissue", {"space": self.space()}, args, row["hashes"][path])
        tool = self.job.part("segmenters", TISSUE_SEGMENTER)
        probabilities = self.segment(tool, "raw", 0, (subject, scanner), "template")
        needs = {"segmentation": probabilities, "space": self.space()}
        return self.add("tissue", needs, args)

    def fit(self, part: Part, repeat: int, fold: int) -> str:
        return self.once(
            ("fit", part.name, repeat, fold), lambda: self.make_fit(part, repeat, fold)
        )

    def make_fit(self, part: Part, repeat: int, fold: int) -> str:
        parts = self.split(part, repeat, fold)
        args = {
            "method": part.name,
            "repeat": repeat,
            "fold": fold,
            "seed": self.seed(part, repeat, fold),
            "training": list(parts.training),
            "validation": list(parts.validation),
        }
        needs, seen = self.seen(part, parts)
        shared = [seen, args["seed"], *self.circumstances(part)]
        heavy = bool(part.needs["gpu"])
        pieces = {}
        for number in range(len(part.pieces)):
            own = {**args, "piece": number}
            identity = part.piece(number).identity
            pieces[f"piece:{number}"] = self.add(
                "piece", needs, own, identity, *shared, heavy=heavy
            )
        return self.add("fit", {**needs, **pieces}, args, part.identity, *shared, heavy=heavy)

    def seed(self, part: Part, repeat: int, fold: int) -> int:
        return seed_of(self.job.seed, part.name, repeat, fold)

    def split(self, part: Part, repeat: int, fold: int) -> Split:
        """Subjects of a fit; fold -1 is that on all of them."""
        if fold >= 0:
            return split(self.cohort, self.job.folds[repeat], fold)
        trained = part.needs["folds"]
        return Split((), (), self.cohort.matched if trained else self.cohort.subjects)

    def seen(self, part: Part, parts: Split) -> tuple[dict[str, str], list[Any]]:
        """Tasks whose images a fit sees, and what of the manifest it sees of them."""
        needs = {"space": self.space()}
        used: list[Any] = []
        for role, subjects in (("train", parts.training), ("validation", parts.validation)):
            for scan in self.cohort.select(subjects).scans:
                where = place_of(scan.subject, scan.scanner)
                needs[f"{role}:{where}"] = self.raw(scan.subject, scan.scanner)
                for name, key in self.inputs(part, scan.subject, scan.scanner).items():
                    needs[f"{name}:{where}"] = key
                used.append([role, scan.subject, scan.scanner, self.labels(part, scan.values)])
        return needs, used

    def circumstances(self, part: Part) -> list[Any]:
        """Return what a fit hangs on beside its images and its seed."""
        job = self.job
        return [
            job.device if part.needs["gpu"] else "cpu",
            job.target if part.needs["target"] else None,
            dict(job.group) if job.group and part.needs["group"] else None,
            list(job.covariates) if part.needs["covariates"] else None,
        ]

    def labels(self, part: Part, values: Mapping[str, str]) -> list[str]:
        return [values.get(name, "") for name in self.job.columns_of(part)]

    # --- what metrics read --------------------------------------------------------------------

    def segment(
        self, tool: Part, method: str, repeat: int, scan: tuple[str, str], space: str
    ) -> str:
        identity: list[Any] = [tool.identity, space, *self.way_back(scan, space)]
        needs = {"space": self.space(), **self.image_and_raw(method, repeat, scan)}
        args = {
            "tool": tool.name,
            "method": method,
            "repeat": repeat,
            "subject": scan[0],
            "scanner": scan[1],
            "space": space,
        }
        return self.add("segment", needs, args, *identity)

    def image_and_raw(self, method: str, repeat: int, scan: tuple[str, str]) -> dict[str, str]:
        """Return an image to segment, and RAW, which says what of the brain was in the scan."""
        image = self.image(self.job.part("methods", method), repeat, *scan)
        return {"image": image, "raw": self.raw(*scan)}

    def way_back(self, scan: tuple[str, str], space: str) -> list[str]:
        """Return what a result in native space hangs on beside its image."""
        row = self.rows[scan]
        return [row["hashes"][row["values"]["to_native"]]] if space == "native" else []

    def measure(
        self, tool: Part, method: str, repeat: int, scan: tuple[str, str], space: str
    ) -> str | None:
        """Measure one scan, or read its measures; None where they were not made before."""
        where = {
            "tool": tool.name,
            "method": method,
            "repeat": repeat,
            "subject": scan[0],
            "scanner": scan[1],
        }
        if tool.name in self.job.places:
            return self.read_measures(tool, where)
        identity = [tool.identity, space, *self.way_back(scan, space)]
        needs = {"space": self.space()}
        built = tool.build()
        if built.reads == "image":
            needs |= self.image_and_raw(method, repeat, scan)
        else:
            segmenter = self.job.part("segmenters", built.segmenter)
            needs["segmentation"] = self.segment(segmenter, method, repeat, scan, space)
            needs["regions"] = self.regions(scan, space)
        return self.add("measure", needs, {**where, "space": space}, *identity)

    def read_measures(self, tool: Part, where: Mapping[str, Any]) -> str | None:
        place = self.job.places[tool.name]
        source = tool.build().find(place, where["method"], where["subject"], where["scanner"])
        if source is None or where["repeat"]:  # what was made before is of the first repeat
            return None
        files = {role: str(path) for role, path in source.files.items()}
        hashes = {role: self.job.content_elsewhere(path) for role, path in source.files.items()}
        args = {**where, "files": files, "contents": hashes, "row": source.row, "space": ""}
        who = [where["method"], where["subject"], where["scanner"]]
        return self.add("measure", {}, args, tool.identity, hashes, source.row, who)

    def regions(self, scan: tuple[str, str], space: str) -> str:
        """Region labels of the atlas where a scan's measures are taken."""
        args = {"subject": scan[0], "scanner": scan[1]} if space == "native" else {}
        needs = {"space": self.space()}
        return self.add(
            "regions", needs, {**args, "space": space}, space, *self.way_back(scan, space)
        )

    def picture(self, part: Part, subject: str, scanner: str) -> str:
        image = self.plan.images[part.name, 0, subject, scanner]
        args = {"method": part.name, "subject": subject, "scanner": scanner}
        needs = {"image": image, "space": self.space()}
        return self.add("picture", needs, args)

    def mosaic(self, part: Part, pictures: Mapping[tuple[str, str], str]) -> None:
        """Plan the mosaics of a method: of the scans whose pictures can be had."""
        own = {scan: key for scan, key in pictures.items() if key not in self.broken}
        if own:
            order = [list(scan) for scan in own]
            needs = {f"picture:{place_of(*scan)}": key for scan, key in own.items()}
            self.add("mosaic", needs, {"method": part.name, "order": order}, order)

    # --- scores -------------------------------------------------------------------------------

    def gap(self, args: Mapping[str, Any], status: str, reason: str) -> None:
        self.plan.gaps.append(Gap(args, status, reason))

    def gaps_of(self, method: str, metric: str, tool: str) -> list[Gap]:
        wanted = {"method": method, "metric": metric, "tool": tool}.items()
        return [gap for gap in self.plan.gaps if wanted <= gap.args.items()]

    def metric(self, part: Part, repeat: int, metric: Part) -> None:
        traits = self.metric_traits[metric.name]
        for tool, missing in self.tools(traits):
            reason = missing or self.spared(part, traits, tool)
            read = {}
            for scan in self.rows:
                where = self.gap_args(part, repeat, metric, tool, scan)
                if reason:
                    self.gap(where, "not_measured", reason)
                    continue
                key = self.reads(part, repeat, tool, traits, scan)
                if key is None:
                    why = f"no results of {tool.name if tool else ''} for this scan were found"
                    self.gap(where, "not_measured", why)
                elif key in self.broken:
                    self.gap(where, "failed", self.broken[key])
                else:
                    read[scan] = key
            self.scores(part, repeat, metric, tool, traits, read)

    def spared(self, part: Part, traits: Mapping[str, Any], tool: Part | None) -> str:
        """Why a metric is not measured on a method although it could be: it would take too long."""
        if self.job.preset == "quick" and traits["reads"] not in part.needs["quick_reads"]:
            return f"the quick preset reads no {traits['reads']} of this control"
        if tool is None or traits["reads"] != "measures" or part.needs["role"] not in CONTROLS:
            return ""
        whole = tool.build().reads == "image"  # as recon-all does
        return f"{tool.name} takes hours a scan: it measures no controls" if whole else ""

    def tools(self, traits: Mapping[str, Any]) -> list[tuple[Part | None, str]]:
        if traits["reads"] == "image":
            return [(None, "")]
        if traits["reads"] == "segmentation":
            tools: list[tuple[Part | None, str]] = [(tool, "") for tool in self.job.segmenters]
            return tools or [(None, "no segmenter was asked for (--segmenters)")]
        tools = [(tool, "") for tool in self.job.morphometry]
        return tools or [(None, "no region measures were asked for (--measures)")]

    def reads(
        self,
        part: Part,
        repeat: int,
        tool: Part | None,
        traits: Mapping[str, Any],
        scan: tuple[str, str],
    ) -> str | None:
        image = self.plan.images[part.name, repeat, *scan]
        if traits["reads"] == "image" or tool is None:
            return image
        if traits["reads"] == "segmentation":
            return self.segment(tool, part.name, repeat, scan, self.space_of(traits, tool))
        return self.measure(tool, part.name, repeat, scan, self.space_of(traits, tool))

    def space_of(self, traits: Mapping[str, Any], tool: Part | None) -> str:
        """Space that a metric's values are of; "" for what was measured elsewhere."""
        if traits["reads"] == "measures":
            if tool is None or tool.name in self.job.places:
                return ""
            return "native" if self.job.native else "template"
        return "native" if traits["space"] == "native" and self.job.native else "template"

    def gap_args(
        self, part: Part, repeat: int, metric: Part, tool: Part | None, scan: tuple[str, str]
    ) -> dict[str, Any]:
        return {
            "method": part.name,
            "metric": metric.name,
            "tool": tool.name if tool else "",
            "repeat": repeat,
            "space": self.space_of(self.metric_traits[metric.name], tool),
            "subject": scan[0],
            "scanner": scan[1],
        }

    def scores(
        self,
        part: Part,
        repeat: int,
        metric: Part,
        tool: Part | None,
        traits: Mapping[str, Any],
        read: Mapping[tuple[str, str], str],
    ) -> None:
        if not read:
            return
        args = {
            "method": part.name,
            "metric": metric.name,
            "tool": tool.name if tool else "",
            "repeat": repeat,
            "space": self.space_of(traits, tool),
        }
        shared: dict[str, str] = {"space": self.space()}
        if traits["prepares"]:
            shared["state"] = self.state(args, metric, read)
        if traits["level"] == "cohort":
            self.score(args, metric, shared, read)
            return
        for subject in self.cohort.subjects:
            own = {scan: read[scan] for scan in self.by_subject[subject] if scan in read}
            enough = 2 if traits["level"] == "pair" else 1
            if len(own) >= enough:
                self.score({**args, "subject": subject}, metric, shared, own)

    def state(
        self, args: Mapping[str, Any], metric: Part, read: Mapping[tuple[str, str], str]
    ) -> str:
        space = self.space()
        summaries = {}
        for scan, key in read.items():
            needs = {"read": key, "space": space}
            own = {**args, "subject": scan[0], "scanner": scan[1]}
            # One that fails, of an image that is good, fails the metric: a scale made from fewer
            # scans would be another scale under the same name.
            made = self.add("summary", needs, own, metric.identity, *self.truth(metric, [scan]))
            summaries[f"state:{place_of(*scan)}"] = made
        return self.add("merge", {**summaries, "space": space}, args, metric.identity)

    def score(
        self,
        args: Mapping[str, Any],
        metric: Part,
        shared: Mapping[str, str],
        read: Mapping[tuple[str, str], str],
    ) -> None:
        needs = dict(shared)
        for scan, key in read.items():
            needs[f"read:{place_of(*scan)}"] = key
            needs[f"raw:{place_of(*scan)}"] = self.raw(*scan)
        order = [list(scan) for scan in read]
        identity: list[Any] = [metric.identity, order, args["space"], *self.truth(metric, read)]
        if self.metric_traits[metric.name]["level"] == "cohort":
            identity += [self.job.folds[args["repeat"]], self.job.trained(args["method"])]
        key = self.add("score", needs, {**args, "order": order}, *identity)
        if args["method"] == "raw" and "subject" in args:
            self.scored[args["metric"], args["tool"], args["subject"]] = key
            self.scans_scored[key] = list(read)
        if key in self.broken:
            for subject, scanner in read:
                where = {**args, "subject": subject, "scanner": scanner}
                self.gap(where, "failed", self.broken[key])

    def truth(self, metric: Part, scans: Iterable[tuple[str, str]]) -> list[list[str]]:
        """Hashes of the files of truth that a metric reads; nothing for one that reads none."""
        columns = self.metric_traits[metric.name]["truth"]
        rows = [self.rows[scan] for scan in scans] if columns else []
        return [[row["hashes"][row["values"][column]] for column in columns] for row in rows]


def _traits(part: Part) -> dict[str, Any]:
    metric = part.build()
    return {
        "level": metric.level,
        "reads": metric.reads,
        "better": metric.better,
        "space": getattr(metric, "space", "template"),
        "prepares": getattr(type(metric), "prepare", None) is not Stateless.prepare,
        "truth": tuple(getattr(metric, "truth", ())),
    }


def seed_of(seed: int, method: str, repeat: int, fold: int) -> int:
    """Seed of one fit: follows the run's seed, method, repeat and fold."""
    return int(merkle("seed", seed, method, repeat, fold)[:8], 16)
