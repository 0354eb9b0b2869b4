"""The neural network: everything that the mathematics needs, in NumPy.

functions.py       activations and losses, each next to its derivative
initialization.py  intial_weights and the initialisation schemes
network.py         parameters, forward and backward propagation
optimizers.py      update rules and learning-rate schedules
augmentation.py    flips, shifts, mixup
metrics.py         predictions, loss, accuracy, per-class scores, calibration
config.py          the hyperparameters: default, limits, flag, help
validation.py      checks of arguments
training.py        Trainer, model_train and train_each
engine.py          the engine of a training step: NumPy, or Numba if it is installed
compiled.py        the Numba engine, bitwise the same as NumPy
threads.py         the number of BLAS threads
checkpoint.py      files for a training state or a trained network
"""

from helpers.nn.checkpoint import load_model, save_model
from helpers.nn.config import Config
from helpers.nn.functions import ACTIVATIONS, LOSSES, softmax
from helpers.nn.initialization import WEIGHT_INITS, intial_weights
from helpers.nn.metrics import evaluate, predict
from helpers.nn.network import Params, backward_propagation, forward_propagation
from helpers.nn.optimizers import OPTIMIZERS, init_state
from helpers.nn.training import Trainer, TrainingDiverged, last_epochs, model_train, train_each

__all__ = [
    "ACTIVATIONS", "LOSSES", "OPTIMIZERS", "WEIGHT_INITS", "Config", "Params", "Trainer", "TrainingDiverged",
    "backward_propagation", "evaluate", "forward_propagation", "init_state", "intial_weights", "last_epochs",
    "load_model", "model_train", "predict", "save_model", "softmax", "train_each",
]  # fmt: skip
