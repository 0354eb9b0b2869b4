"""The local hyperparameter search: the same sweep.yaml as for W&B, without a server or an account.

sweep_file.py  read and check a sweep.yaml
study.py       storage and sampling of the trials, and the table of results
local.py       search: run the trials of a sweep
workers.py     run a function in several processes
analysis.py    importance of the hyperparameters
"""

from helpers.search.analysis import importance
from helpers.search.local import search
from helpers.search.sweep_file import read_sweep

__all__ = ["importance", "read_sweep", "search"]
