"""Names and values as people write them, in Python, flags, sweep files and the config of a W&B run."""

import difflib
import re
from contextlib import contextmanager, suppress

# What people call a hyperparameter or a metric, in lower case: the name that they probably mean
SYNONYMS = {
    "lr": "learning_rate", "eta": "learning_rate", "alpha": "learning_rate", "step_size": "learning_rate",
    "hidden_layer_size": "hidden_size", "hidden_units": "hidden_size", "hidden_layers_size": "hidden_size",
    "num_neurons": "hidden_size", "neurons": "hidden_size", "units": "hidden_size", "sz": "hidden_size",
    "num_hidden_layers": "num_layers", "hidden_layers": "num_layers", "no_of_layers": "num_layers",
    "n_hidden_layers": "num_layers", "layers": "num_layers", "nhl": "num_layers",
    "activation_function": "activation", "activation_fn": "activation", "act": "activation",
    "num_epochs": "epochs", "n_epochs": "epochs", "max_epochs": "epochs", "epoch": "epochs", "ep": "epochs",
    "weight_initialisation": "weight_init", "weight_initialization": "weight_init", "initialization": "weight_init",
    "initialisation": "weight_init", "initializer": "weight_init", "init": "weight_init", "wi": "weight_init",
    "weights_init": "weight_init", "opt": "optimizer", "optimiser": "optimizer", "bs": "batch_size",
    "batch": "batch_size", "mini_batch_size": "batch_size", "loss_function": "loss", "loss_fn": "loss",
    "criterion": "loss", "l2": "weight_decay", "l2_reg": "weight_decay", "l2_lambda": "weight_decay",
    "reg": "weight_decay", "lambda": "weight_decay", "decay": "weight_decay", "wd": "weight_decay",
    "gamma": "momentum", "beta_1": "beta1", "beta_2": "beta2", "eps": "epsilon", "dropout_rate": "dropout",
    "random_state": "seed", "w_p": "wandb_project", "project": "wandb_project", "w_e": "wandb_entity",
    "entity": "wandb_entity", "ds": "dataset", "accuracy": "val_accuracy", "val_acc": "val_accuracy",
    "validation_accuracy": "val_accuracy", "valid_accuracy": "val_accuracy", "valid_acc": "val_accuracy",
    "validation_loss": "val_loss", "valid_loss": "val_loss", "loss_val": "val_loss", "train_acc": "train_accuracy",
    "training_accuracy": "train_accuracy", "training_loss": "train_loss",
}  # fmt: skip
# Texts that can mean only one of the allowed values, in lower case and without punctuation
MEANINGS = {
    "loss": {
        "mse": "mean_squared_error", "squarederror": "mean_squared_error", "ce": "cross_entropy",
        "categoricalcrossentropy": "cross_entropy", "crossentropyloss": "cross_entropy",
    },
    "optimizer": {
        "nesterov": "nag", "nesterovmomentum": "nag", "nesterovacceleratedgradient": "nag", "mgd": "momentum",
        "momentumgd": "momentum", "momentumbasedgradientdescent": "momentum",
    },
    "weight_init": {
        "glorot": "Xavier", "glorotuniform": "Xavier", "xavieru": "Xavier", "xavieruniform": "Xavier",
        "kaiming": "He", "henormal": "He", "kaimingnormal": "He", "randomnormal": "random",
    },
    "activation": {"logistic": "sigmoid", "linear": "identity"},
    "dataset": {"fashion": "fashion_mnist"},
}  # fmt: skip


def read_choice(name, value, allowed):
    """Return the allowed text that `value` can only mean, or `value` itself."""
    if not isinstance(value, str) or value in list(allowed):
        return value
    meanings = MEANINGS.get(name, {}) | {plain(choice): choice for choice in allowed}
    meaning = meanings.get(plain(value), value)
    return meaning if meaning in allowed else value


def read_number(value, kind):
    """Return the int, float, bool or None that a text stands for, or `value` itself."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text in ("none", "null"):
        return None
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is int and re.fullmatch(r"[-+]?[0-9]+", text):
        return int(text)
    if kind is float and text.isascii() and "_" not in text:
        with suppress(ValueError):
            return float(text)
    return value


def read_sizes(value):
    """Return the integers of a text such as 512,256 or [512, 256]; of 128, without brackets, the integer."""
    if isinstance(value, str) and re.fullmatch(r"[\s,\[\]()0-9]+", value):
        sizes = [int(size) for size in re.findall(r"[0-9]+", value)]
        return sizes[0] if re.fullmatch(r"\s*[0-9]+\s*", value) else sizes
    return value


def plain(text):
    """Return the text in lower case, without punctuation."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def meant(name, known):
    """Return the known name that an unknown one probably means, or None."""
    text = re.sub(r"\W", "_", str(name).lower()).strip("_")
    synonym = SYNONYMS.get(text) or {plain(choice): choice for choice in known}.get(plain(text))
    return synonym if synonym in known else next(iter(difflib.get_close_matches(text, known, 1, 0.7)), None)


def unknown(kind, name, known, dashes=""):
    """Return the sentence about an unknown name, with the one that was probably meant, or all."""
    guess = meant(name, known)
    remedy = f"did you mean {dashes}{guess}?" if guess else f"the names are: {', '.join(known)}"
    return f"{name} is an unknown {kind}; {remedy}"


class Problems(list):
    """The problems of one input: all are named in one message."""

    @contextmanager
    def noted(self):
        """Note the problems of the ValueError that the block raises, and go on after it."""
        try:
            yield
        except ValueError as error:
            self.extend(getattr(error, "problems", [str(error)]))

    def report(self, where=""):
        """Raise a ValueError that names all problems, and `where` they are, if there are any."""
        if not self:
            return
        if len(self) == 1:
            text = f"{where}: {self[0]}" if where else self[0]
        else:
            text = "\n  - ".join([f"{where}: {len(self)} problems:" if where else f"{len(self)} problems:", *self])
        error = ValueError(text)
        error.problems = list(self)
        raise error
