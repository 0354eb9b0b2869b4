"""What a real training adds around the loop of `helpers.nn`.

run.py             model_train and train_each: hyperparameters, loop, validation, best epoch, early stopping
parallel.py        trainings side by side, in processes
config.py          the hyperparameters: default, limits, flag, help
checks.py          checks of arguments
values.py          names and values as people write them
augmentation.py    flips, shifts, distortions, mixup
regularization.py  dropout, local receptive fields
more_optimizers.py two more update rules
metrics.py         predictions and scores
checkpoint.py      files of a training state and of a trained network
stopping.py        the stop button, Ctrl-C and SIGTERM
"""
