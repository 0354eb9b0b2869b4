"""The code of DL_Assignment1.ipynb.

nn        the neural network: everything that the mathematics needs
data      Fashion-MNIST and MNIST: sources, split, scaling
search    the local hyperparameter search
storage   how files are written and read
results   the results of searches and recipes, as CSV files
plots     every figure of the notebook
tracking  Weights & Biases
cli       what the commands share

The commands are ``python -m helpers.train``, ``helpers.sweep``, ``helpers.recipes`` and ``helpers.predict``.
"""
