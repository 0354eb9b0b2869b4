"""The figures of the notebook. Each function shows one figure and returns nothing.

style.py       what all figures share: colours, title, PNG with alternative text, legends
data.py        images, and weights shown as images
network.py     networks and their functions
training.py    losses and accuracies of trainings
evaluation.py  predictions on the test set
search.py      trials of a hyperparameter search

Arguments that many functions share: `title` says in a sentence what the figure shows; it is broken into lines, and ends
the alternative text. `source` is the name of the data set, for the lower right corner; training histories know theirs.
`class_names` are the names of the C classes. `results` is the table of trials that `helpers.search.search` returns.
"""

# ruff: noqa: F401, I001 (exported; not one name per line)
from helpers.lesson.figures.data import (
    augmented_images, class_examples, first_layer_weights, misclassified, own_picture,
    prediction, weight_table,
)  # fmt: skip
from helpers.lesson.figures.evaluation import confusion_matrix
from helpers.lesson.figures.network import (
    activation_functions, decision_regions, layer_graph, layer_scales, loss_functions, network_diagram,
)  # fmt: skip
from helpers.lesson.figures.search import hyperparameter_importance, parallel_coordinates, trial_history
from helpers.lesson.figures.training import (
    accuracy_by, learning_curves, lines, optimizer_paths, panels, training_curves,
)  # fmt: skip
