"""The assignment: a neural network in NumPy. Read the modules in this order.

functions.py       activations and losses, each next to its derivative
network.py         the parameters, forward and backward propagation
initialization.py  intial_weights and the initialisation schemes
optimizers.py      update rules and learning-rate schedules
loop.py            the training loop: it draws the batches and sets the learning rate

It needs NumPy and nothing else. What a real training adds to the loop (hyperparameters and their limits, validation,
the best epoch, checkpoints) is in `helpers.experiment`; `helpers.speed` compiles the functions of this package.
"""

from helpers.nn.functions import ACTIVATIONS, LOSSES, softmax
from helpers.nn.initialization import WEIGHT_INITS, intial_weights
from helpers.nn.loop import Hooks, TrainingState, train
from helpers.nn.network import Params, backward_propagation, forward_propagation
from helpers.nn.optimizers import OPTIMIZERS, SCHEDULES, init_state, optimizer

__all__ = [
    "ACTIVATIONS", "LOSSES", "OPTIMIZERS", "SCHEDULES", "WEIGHT_INITS", "Hooks", "Params", "TrainingState",
    "backward_propagation", "forward_propagation", "init_state", "intial_weights", "optimizer", "softmax", "train",
]  # fmt: skip
