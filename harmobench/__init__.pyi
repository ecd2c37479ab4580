from harmobench.api.cohorts import Cohort as Cohort
from harmobench.api.cohorts import read_cohort as read_cohort
from harmobench.api.cohorts import simulate as simulate
from harmobench.api.installed import list_methods as list_methods
from harmobench.api.installed import list_metrics as list_metrics
from harmobench.api.running import run as run
from harmobench.api.runs import Run as Run
from harmobench.api.runs import open_run as open_run
from harmobench.errors import HarmobenchError as HarmobenchError

__version__: str
