"""The mathematics of DL_Assignment1.ipynb. Section -> module:

1  the data                          data.py
2  activations and losses            functions.py
3  intial_weights                    network.py
4  forward propagation               network.py
5  backward propagation              network.py
6  the six optimizers                optimizers.py
7  model_train and early stopping    training.py
8  cross-entropy or squared error    training.py
9  the search                        sweep.py; space.py reads sweep.yaml, study.py keeps the trials, grid.py its points
10 the chosen network                augmentation.py, evaluation.py; checkpoint.py keeps it, predict.py uses it
11 the same code on MNIST            all of them
12 what others reached               recipes.py

Every figure is drawn by plots.py. The settings of a training run are listed in config.py; checks.py has the checks of
arguments that all of them share. data.py finds its files through files.py. One run from the command line or under a W&B
agent is train.py, and what W&B keeps of it is recording.py. console.py has what the command lines share, processes.py
how searches and recipes use several cores, atomic.py how every file is written.
"""
