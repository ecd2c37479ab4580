"""The command line: reads what the user typed, shows what happens, and returns a status.

0: done. 1: done, some scores failed. 2: refused before anything was written.
3: stopped half-way by the system, a full disk say. 130: interrupted.
"""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from harmobench import cli_look
from harmobench.cli_look import Quietly, interruptible, watching
from harmobench.completing import PRESETS, methods_of_run, names_of, run_folders, words
from harmobench.plugin_commands import Commands

app = typer.Typer(
    name="harmobench",
    cls=Commands,
    help="Benchmark MRI harmonization methods on matched multi-scanner cohorts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
NO_OPTIONS = ("config", "quiet", "dry_run", "read_options")  # of what `run` has by name
DONE, FAILED_ROWS, REFUSED, STOPPED = 0, 1, 2, 3
Workers = Annotated[int | None, typer.Option(help="Processes of one thread each [cores].")]
Memory = Annotated[
    str | None,
    typer.Option(help="What each process may use, such as 4GB; above it is killed [all there is]."),
]
Scheduler = Annotated[str | None, typer.Option(help="Address of a running Dask scheduler.")]
Slurm = Annotated[
    str | None,
    typer.Option(help="KEY=VALUE with commas: work in SLURM jobs, such as queue=short,jobs=1:50."),
]
Run = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A finished run's folder.", autocompletion=run_folders),
]
Cluster = Annotated[
    Path | None,
    typer.Option(help="TOML: SLURM, SGE, PBS or a scheduler, and how; see docs/cluster.md."),
]


def main() -> None:
    """Run the command line; every refusal ends with one message and status 2."""
    from harmobench.errors import HarmobenchError, StoppedError
    from harmobench.plain import plain

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name the terminal cannot show
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's end is Ctrl-C
    try:
        app()
    except HarmobenchError as error:
        sys.stderr.write(plain(f"harmobench: {error}\n"))
        sys.exit(REFUSED)
    except (OSError, StoppedError) as error:  # a full disk, say: what is finished stays
        sys.stderr.write(plain(f"harmobench: stopped: {error}\n"))
        sys.exit(STOPPED)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Versions that results hang on.")] = (
        False
    ),
) -> None:
    if version:
        from harmobench.plain import one_line
        from harmobench.versions import version_lines

        for line in version_lines():
            print(one_line(line))
        raise typer.Exit(DONE)


@app.command()
def run(
    cohort: Annotated[Path | None, typer.Option(help="The manifest, .csv or .tsv.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; else one named after the manifest.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="all, or names with commas [all].",
            autocompletion=names_of("methods", "measure_methods"),
        ),
    ] = None,
    atlas: Annotated[
        str | None, typer.Option(help="builtin, or an atlas folder [builtin].")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="quick, default or paper [default].", autocompletion=words(*PRESETS)),
    ] = None,
    segmenters: Annotated[
        str | None,
        typer.Option(
            help="all, none, or names with commas [hmrf].",
            autocompletion=names_of("segmenters", more=("all", "none")),
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="all, or names with commas [all].", autocompletion=names_of("metrics")),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Folds of the trained methods [n/2, at most 6].")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows it [0].")] = None,
    repeats: Annotated[
        int | None, typer.Option(help="Train this often, with other seeds and folds [1].")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu or cuda [auto].", autocompletion=words("auto", "cpu", "cuda")),
    ] = None,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    slurm: Slurm = None,
    cluster: Cluster = None,
    target: Annotated[
        str | None,
        typer.Option(help="Scanner that methods with a target map onto [clearest contrast]."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="COLUMN:first,second: clinical groups in order.")
    ] = None,
    covariates: Annotated[str | None, typer.Option(help="Columns with commas.")] = None,
    set: Annotated[
        list[str] | None, typer.Option("--set", help="NAME.PARAMETER=VALUE; may be repeated.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="These options in a TOML file.")] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option(
            help="A tool that measures regions, or NAME=PLACE of results made before, such as "
            "freesurfer=SUBJECTS_DIR; none; may be repeated [atlas-roi]."
        ),
    ] = None,
    biomarkers: Annotated[
        Path | None, typer.Option(help="TOML that says what to read from FreeSurfer's files.")
    ] = None,
    precomputed: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATTERN with {subject} and {scanner}: images made elsewhere."),
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            help="METRIC=DIFFERENCE too small to matter, such as ssim=0.01 or volume=2 (ml), for "
            "equivalence tests; may be repeated."
        ),
    ] = None,
    controls: Annotated[
        str | None,
        typer.Option(
            help="Methods that only test the metrics: on, off, or auto: with --methods all [auto].",
            autocompletion=words("on", "off", "auto"),
        ),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(
            help="What a task may take, such as 90min, and a training ten times that [24h]."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would be done, with an estimate of time and disk."
        ),
    ] = False,
    quiet: Quietly = False,
) -> None:
    """Run every method on a matched cohort, score all by the same suite, and write a report."""
    from harmobench.options import read_options

    given = {k: v for k, v in locals().items() if k not in NO_OPTIONS}
    options = read_options({k: v for k, v in given.items() if v is not None}, config)
    if dry_run:
        raise typer.Exit(_foretell(options, quiet))
    raise typer.Exit(_run(options, quiet, announce=out is None))


def _foretell(options: Any, quiet: bool) -> int:
    from harmobench.ahead.foretell import foretell
    from harmobench.plain import one_line

    command = shlex.join(["harmobench", *sys.argv[1:]])
    with interruptible("nothing was written"), watching(quiet) as watcher:
        lines = foretell(options, command, watcher.step)
    for line in lines:
        print(one_line(line))
    return DONE


def _run(options: Any, quiet: bool, announce: bool = False) -> int:
    from harmobench.benchmark import run as run_all

    command = shlex.join(["harmobench", *sys.argv[1:]])
    with interruptible("the same command goes on where this one stopped"), watching(quiet) as w:
        if announce:
            w.say(f"writing to {options.out}")
        result = run_all(options, command, w)
    print(f"{result.computed} tasks computed, {result.reused} found finished")
    if result.broken:
        rest = f", and {result.undone} could not be done without them" if result.undone else ""
        print(f"{result.broken} task{'s' if result.broken > 1 else ''} failed{rest}")
    if result.failed:
        print(
            f"{result.failed} scores failed with the tasks that they need: each task and why "
            f"stands in {result.folder / 'failures.csv'}"
        )
    print(f"report: {result.report}")
    return FAILED_ROWS if result.failed else DONE


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")] = Path("harmobench-demo"),
    workers: Workers = None,
    slurm: Slurm = None,
    quiet: Quietly = False,
) -> None:
    """Simulate a travelling-subjects cohort, run every method on it, and say where the report is.

    Six subjects on four scanners at 2 mm, with the quick preset.
    """
    import shutil

    from harmobench.cluster.where import Where, read_where
    from harmobench.job import Options
    from harmobench.phantom.simulate import simulate

    read_where(Where(workers, slurm=slurm))
    manifest = out / "cohort" / "matched.csv"
    unfinished = out / ".cohort.partial"
    with interruptible("the same command starts again"), watching(quiet) as watcher:
        if manifest.is_file():
            watcher.say(f"the phantom is there already: {manifest}")
        else:
            watcher.say("simulating 6 subjects on 4 scanners at 2 mm")
            count = workers or os.cpu_count() or 1
            shutil.rmtree(unfinished, ignore_errors=True)  # of a demo that was interrupted
            simulate(unfinished, 6, 4, 2.0, 0, watcher.step, workers=min(count, 6))
            unfinished.rename(manifest.parent)
    options = Options(
        cohort=manifest,
        out=out / "run",
        preset="quick",
        workers=workers,
        slurm=slurm,
        group="group:low,high",
    )
    raise typer.Exit(_run(options, quiet))


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    subjects: Annotated[int, typer.Option(help="How many people.")] = 6,
    scanners: Annotated[int, typer.Option(help="How many scanners, 2 to 7.")] = 4,
    resolution: Annotated[float, typer.Option(help="Voxel size, mm.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Everything follows it.")] = 0,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A manifest: put its images on the phantom's scanners."),
    ] = None,
    quiet: Quietly = False,
) -> None:
    """Write a travelling-subjects phantom with known truth; its manifest is OUT/matched.csv."""
    from harmobench.folder import refuse_system_errors
    from harmobench.phantom import simulate as phantom

    with (
        interruptible(f"delete {out} and start again"),
        refuse_system_errors(),
        watching(quiet) as watcher,
    ):
        if source is None:
            manifest = phantom.simulate(out, subjects, scanners, resolution, seed, watcher.step)
        else:
            manifest = phantom.simulate_from(source, out, scanners, seed, watcher.step)
    print(f"manifest: {manifest}")


@app.command("preprocess")
def preprocess_images(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="One row a scan: subject, scanner, image (native T1), optionally mask (native)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A new or empty folder, or an earlier one.")],
    atlas: Annotated[str, typer.Option(help="builtin, or an atlas folder.")] = "builtin",
    quality: Annotated[
        str,
        typer.Option(
            help="paper: the paper's, at full resolution; quick: at 2 mm, to see that all works."
        ),
    ] = "paper",
    skull: Annotated[
        str,
        typer.Option(help="on or off: whether images show the skull; auto looks at each image."),
    ] = "auto",
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    slurm: Slurm = None,
    cluster: Cluster = None,
    quiet: Quietly = False,
) -> None:
    """Make RAW from native T1 images: SyN to the atlas, N4, brain mask, scale; in this order.

    Writes images and transforms (BIDS derivatives), OUT/matched.csv for `harmobench run`, and
    OUT/quality.html, which shows how well each scan was registered.
    """
    from harmobench.cluster.where import Where
    from harmobench.preprocess import Request, preprocess

    where = Where(workers, memory, scheduler, slurm, cluster)
    request = Request(manifest, atlas, out, quality, skull, where)
    with (
        interruptible("the same command goes on where this one stopped"),
        watching(quiet) as watcher,
    ):
        made = preprocess(request, watcher)
    odd = f", {made.flagged} stand out" if made.flagged else ""
    print(f"{made.scans} scans preprocessed{odd}: look at {made.page}")
    if made.failed:
        print(f"{made.failed} scans failed: see {made.page.parent / 'failures.csv'}")
    if made.scans:
        print(f"manifest: {made.manifest}")
    if quality == "quick":
        print("--quality quick shows that all works; for results leave it out")
    raise typer.Exit(FAILED_ROWS if made.failed else DONE)


@app.command("apply")
def apply_method(
    folder: Run,
    method: Annotated[
        str,
        typer.Argument(metavar="METHOD", help="One of its methods.", autocompletion=methods_of_run),
    ],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="An image, or a manifest (.csv, .tsv) of many like the cohort's."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The image to write; for a manifest, a folder.")
    ],
    scanner: Annotated[
        str | None, typer.Option(help="Scanner of the image, one of the run's.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Brain mask of the image [the brain of the run].")
    ] = None,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    slurm: Slurm = None,
    cluster: Cluster = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over images that are there.")
    ] = False,
    quiet: Quietly = False,
) -> None:
    """Harmonize new images of a known scanner with a method of a finished run.

    The first time, the method is trained on all subjects of the run's cohort; the model is kept in
    RUN/models/METHOD/all. The new images must be prepared as the cohort's were: in the space of the
    same atlas, on the same grid, with intensities of the same scale. An image needs --scanner; a
    manifest has a column for it.
    """
    from harmobench.apply import Request, apply
    from harmobench.cluster.where import Where

    where = Where(workers, memory, scheduler, slurm, cluster)
    request = Request(folder, method, source, out, scanner, mask, where, overwrite)
    what_next = "what is finished is kept; give the same command again"
    if request.many:
        what_next += ", with --overwrite where images are written already"
    with interruptible(what_next), watching(quiet) as watcher:
        done = apply(request, watcher)
    if done.model:
        how = "trained now" if done.trained else "found finished"
        print(f"model: {done.model}, of {done.subjects} subjects, {how}")
    if request.many:
        failed = f", {done.failed} failed" if done.failed else ""
        print(f"{done.written} images harmonized{failed}: see {out / 'manifest.csv'}")
    else:
        print(f"harmonized: {out}")
    raise typer.Exit(FAILED_ROWS if done.failed else DONE)


@app.command()
def clean(
    folder: Run,
    images: Annotated[
        bool,
        typer.Option(
            "--images", help="Remove harmonized images and segmentations too; run makes them again."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")
    ] = False,
    quiet: Quietly = False,
) -> None:
    """Remove from a finished run what no table needs: results of earlier settings, left-overs.

    Report, cite, compare and verify work as before.
    """
    from harmobench.clean import clean as remove

    with interruptible("give the same command again"), watching(quiet) as watcher:
        lines = remove(folder, images, dry_run, watcher.step)
    for line in lines:
        print(line)


@app.command()
def report(
    folder: Run,
    quiet: Quietly = False,
) -> None:
    """Write the report and the tables of a finished run again, from its folder alone."""
    from harmobench.benchmark import report as rebuild

    with interruptible("the report that was there is unchanged"), watching(quiet) as watcher:
        page = rebuild(folder, watcher.step)
    print(f"report: {page}")


cli_look.add_to(app)


if __name__ == "__main__":
    main()
