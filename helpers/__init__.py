"""The code of DL_Assignment1.ipynb: a neural network in NumPy, and what is needed to work with it.

nn          the assignment: network, gradients, optimizers, training loop; NumPy and nothing else
experiment  what a real training adds: hyperparameters, validation, checkpoints, scores
speed       the same functions, compiled
data        Fashion-MNIST and MNIST: sources, split, scaling
search      the hyperparameter search on this machine
lesson      what only the notebook needs: figures, exercises
results     the results of searches and recipes, as CSV files
files       atomic writes, locks, archives of arrays

The commands are train, sweep, recipes, predict and report, as in ``python -m helpers.train``. The names below can be
imported from here; a name loads its module when it is first used. The functions `search` and `predict`, whose names
are those of modules here, are in `helpers.search` and `helpers.experiment.metrics`.
"""

import importlib
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
SWEEP = Path(__file__).parents[1] / "sweep.yaml"
NAMES = {
    "helpers.nn": (
        "ACTIVATIONS LOSSES OPTIMIZERS Params backward_propagation forward_propagation init_state intial_weights "
        "optimizer softmax"
    ),
    "helpers.experiment.checkpoint": "load_model save_model",
    "helpers.experiment.config": "Config",
    "helpers.experiment.metrics": "evaluate",
    "helpers.experiment.run": "TrainingDiverged last_epochs model_train train_each",
    "helpers.data": "Dataset load_data",
    "helpers.search": "importance read_sweep",
}
MODULES = {name: module for module, names in NAMES.items() for name in names.split()}
__all__ = list(MODULES)


def __getattr__(name):
    if name not in MODULES:
        raise AttributeError(f"module 'helpers' has no attribute {name!r}")
    return getattr(importlib.import_module(MODULES[name]), name)


def __dir__():
    return sorted([*globals(), *MODULES])
