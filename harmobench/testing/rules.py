"""What plugins are held to: each rule by name, with what it expects and how to mend it."""

from __future__ import annotations

from harmobench.testing.conduct import CONDUCT
from harmobench.testing.rule import Rule

LOADS = Rule(
    "loads",
    "a class that imports, is built from its defaults, and has what harmobench.interface says",
    "compare the class with its protocol in harmobench/interface.py",
)
QUICK_IMPORT = Rule(
    "quick-import",
    "its module imports no heavy library: `harmobench list` imports every plugin",
    "move such imports into the functions that use them",
)
RUNS = Rule(
    "runs",
    "no exception on a small sound cohort",
    "mend what raises; refuse data that cannot be used by a MethodError (methods) or a "
    "MeasurementError (metrics, segmenters)",
)
DETERMINISTIC = Rule(
    "deterministic",
    "the same result, bit by bit, from the same seed in two fresh processes",
    "draw from np.random.default_rng(context.seed) alone, never from the global random state or "
    "the clock; keep in an attribute what transform needs; with torch use a generator of its own",
)
CPU = Rule(
    "cpu",
    "works without a GPU",
    "use context.device, which is 'cpu' where there is none",
)

RETURNS = Rule(
    "returns",
    "transform returns scan.with_voxels(array)",
    "end transform with `return scan.with_voxels(harmonized)`",
)
SHAPE = Rule(
    "shape",
    "as many voxels as RAW has along each axis",
    "return the image on the grid of the scan: undo crops, pads and resampling",
)
GRID = Rule(
    "grid",
    "the image on RAW's grid: the same affine, and no axis mirrored or exchanged",
    "return scan.with_voxels(...) of the scan that was given, with its axes as scan.voxels() has "
    "them",
)
DTYPE = Rule(
    "dtype",
    "real numbers that float32 can hold",
    "return an array of float32",
)
FINITE = Rule(
    "finite",
    "finite intensities",
    "guard divisions and logarithms; np.where evaluates both sides",
)
MASK = Rule(
    "mask",
    "one value in all voxels outside the brain mask",
    "set them, as in np.where(scan.brain(), harmonized, 0)",
)
CONTRAST = Rule(
    "contrast",
    "more than one value within the brain",
    "an image of one value says nothing: look at what was learned",
)
SAVE_LOAD = Rule(
    "save-load",
    "the same transform after save, and load in a fresh process",
    "let every attribute that fit sets end in _, so that harmobench.base.Method saves it, or write "
    "it in save; numbers that are saved as text need all digits",
)
NO_PICKLE = Rule(
    "no-pickle",
    "a saved model of JSON, text, safetensors and .npz or .npy without objects alone: to load a "
    "pickle is to run a stranger's code; texts and numbers are not decoded, so a pickle that is "
    "written as one, in base64 say, is not found",
    "derive from harmobench.base.Method, which saves by JSON and safetensors",
)
INDEPENDENT = Rule(
    "independent",
    "the same transform of a scan whatever was transformed before it",
    "let transform change nothing: no attributes of self, no globals, no caches of images",
)
NO_LEAK = Rule(
    "no-leak",
    "transform reads its own scan alone; the subject's other scans are what it is judged by",
    "read nothing in transform but the scan and what fit learned; a control declares what it looks "
    "at by needs.sees",
)
NO_NAMES = Rule(
    "no-names",
    "the same transform when the subject has another name",
    "use no subject's name, and keep nothing of single subjects in fit",
)
UNSEEN = Rule(
    "unseen-scanner",
    "a scan of a scanner that was not in the training is harmonized, or refused by a MethodError",
    "look the scanner up with .get, and raise harmobench.errors.MethodError where it is unknown",
)
TWO = Rule("two-scanners", "works on a cohort of two scanners", "assume no number of scanners")
SEVEN = Rule("seven-scanners", "works on a cohort of seven scanners", TWO.mend)
COVARIATES = Rule(
    "covariates",
    "fit refuses a scan without the value of a covariate, by a MethodError",
    "read covariates by scan.covariate(name), which refuses what is no number",
)

ROWS = Rule(
    "rows",
    "rows of harmobench.interface.Row whose places, statuses and values fit what the class "
    "declares (level, range)",
    "compare with Row, and with the class attributes level, range and structures",
)
COVERED = Rule(
    "covered",
    "a row of every declared structure for each scan or pair, if only one that says why it has no "
    "value",
    "yield Row(structure, None, ..., status='undefined', reason='why') where there is no value",
)
STATE = Rule(
    "state",
    "prepare gives None, or arrays by name that can be stored without objects",
    "return a dictionary of texts to numpy arrays of numbers",
)
ORDER = Rule(
    "state-order",
    "the same scores in whatever order the summaries of scans are merged",
    "let merge add, count or sort; the last bits of sums may differ",
)
SYMMETRIC = Rule(
    "symmetric",
    "a pair's score is the same, or the negative, when its scans change places",
    "use both scans alike, or declare `symmetric: ClassVar[bool] = False`",
)
BEST = Rule(
    "best-of-identical",
    "the best value for two scans that are the same image",
    "compare `better` and `range` with what the formula gives for equal images",
)

AVAILABLE = Rule(
    "available",
    "available() gives None or a text that says what to install",
    "return None where it can run; never raise",
)
VERSION = Rule(
    "version",
    "version() names the program and its version: it is in the key of every result",
    "return a text such as 'prog 1.2'",
)
MAPS = Rule(
    "maps",
    "a mapping with csf, gm and wm, and nothing that changes the scan",
    "return {'csf': array, 'gm': array, 'wm': array}",
)
PROBABILITIES = Rule(
    "probabilities",
    "finite values from 0 to 1, of which csf, gm and wm sum to at most 1",
    "divide by the sum, and clip to 0 ... 1",
)
OUTSIDE = Rule(
    "outside",
    "0 outside the brain",
    "multiply by scan.brain()",
)
TISSUE = Rule(
    "tissue",
    "each of csf, gm and wm somewhere in the brain",
    "check the order of the classes: in T1 csf is dark and wm bright",
)

MEASURES = Rule(
    "measures",
    "one finite value of at least 0 for each structure that structures() names, in its units",
    "let structures() and measure() name the same",
)
VALUES = Rule(
    "values",
    "transform returns the rows that it was given, in their order, with finite values",
    "end transform by return table.assign(value=harmonized)",
)

IMAGE_RULES = (RETURNS, SHAPE, GRID, DTYPE, FINITE, MASK, CONTRAST)
METHOD_RULES = (
    *(LOADS, QUICK_IMPORT, RUNS, *IMAGE_RULES, NO_PICKLE, CPU, COVARIATES, DETERMINISTIC),
    *(SAVE_LOAD, INDEPENDENT, NO_LEAK, NO_NAMES, UNSEEN, TWO, SEVEN, *CONDUCT),
)
METRIC_RULES = (
    *(LOADS, QUICK_IMPORT, RUNS, STATE, ROWS, COVERED, DETERMINISTIC, ORDER, SYMMETRIC, BEST),
    *CONDUCT,
)
SEGMENTER_RULES = (
    *(LOADS, QUICK_IMPORT, AVAILABLE, VERSION, RUNS, MAPS, SHAPE, PROBABILITIES, OUTSIDE, TISSUE),
    *(DETERMINISTIC, INDEPENDENT, *CONDUCT),
)
MORPHOMETRY_RULES = (
    *(LOADS, QUICK_IMPORT, AVAILABLE, VERSION, RUNS, MEASURES, DETERMINISTIC, INDEPENDENT),
    *CONDUCT,
)
MEASURE_METHOD_RULES = (
    *(LOADS, QUICK_IMPORT, RUNS, VALUES, NO_PICKLE, DETERMINISTIC, SAVE_LOAD, INDEPENDENT),
    *(NO_NAMES, UNSEEN, TWO, SEVEN, *CONDUCT),
)
RULES: dict[str, tuple[Rule, ...]] = {
    "methods": METHOD_RULES,
    "measure_methods": MEASURE_METHOD_RULES,
    "metrics": METRIC_RULES,
    "segmenters": SEGMENTER_RULES,
    "morphometry": MORPHOMETRY_RULES,
}
