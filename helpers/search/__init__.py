"""The local hyperparameter search: the same sweep.yaml as for W&B, without a server or an account.

sweep_file.py  read and check a sweep.yaml
study.py       the sweep as an Optuna study: storage, sampler and pruner, and the table of the trials
run.py         search: run the trials, in this process or in several
importance.py  the importance of the hyperparameters
"""

from helpers.search.importance import importance
from helpers.search.run import search
from helpers.search.sweep_file import read_sweep

__all__ = ["importance", "read_sweep", "search"]
