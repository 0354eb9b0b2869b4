"""The code of DL_Assignment1.ipynb.

nn            the neural network in NumPy
data          Fashion-MNIST and MNIST: sources, split, scaling
search        the local hyperparameter search
storage       atomic writing and checked reading of files
results       the results of searches and recipes, as CSV files
plots         the figures of the notebook
tracking      Weights & Biases
cli           functions shared by the commands

The commands are ``python -m helpers.train``, ``helpers.sweep``, ``helpers.recipes``, ``helpers.predict`` and
``helpers.report``.
"""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
SWEEP = Path(__file__).parents[1] / "sweep.yaml"
