"""The contestants: each is a function that returns (epoch, predict) for one network and one data set.

    make(sizes, batch_size, optimizer, X, Y) -> epoch() trains on every image once, predict(X) gives probabilities

sizes: [d_0, …, d_L], ReLU between; X (N, d_0) float32; Y (N, C) one-hot; N is a multiple of batch_size. The loss is
cross-entropy, nadam's learning rate 0.001, sgd's 0.1. Every contestant shuffles before each epoch. The packages of a
contestant are imported in its function, so that its process loads no others.
"""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
from threadpoolctl import threadpool_limits

from helpers.experiment.config import Config
from helpers.experiment.metrics import predict as network_predict
from helpers.experiment.run import TrainingHooks, initial_state, make_engine, progress_bar
from helpers.experiment.stopping import Flag
from helpers.nn import Params, loop
from helpers.nn.network import count_params

RATES = {"nadam": 1e-3, "sgd": 0.1}


def this_project(sizes, batch_size, optimizer, X, Y, engine="numba"):
    """A training as `model_train` does it, one epoch at a time and without validation."""
    data = SimpleNamespace(x_train=X, y_train=Y, x_val=None, y_val=None)
    config = Config(batch_size=batch_size, optimizer=optimizer, num_layers=len(sizes) - 2, hidden_size=sizes[1:-1])
    state, engine = initial_state(data, config), make_engine(engine)
    hooks = TrainingHooks(data, config, state, engine, Flag(), progress_bar(False, "batch"))
    threadpool_limits(1, "blas")

    def epoch():
        loop.train(
            state, X, Y, config.rule, learning_rate=RATES[optimizer], epochs=len(hooks.history) + 1,
            batch_size=batch_size, hooks=hooks, engine=engine,
        )  # fmt: skip

    return epoch, lambda X: network_predict(state.params, X, activation=config.activation)


def this_project_numpy(*arguments):
    """Train without Numba."""
    return this_project(*arguments, engine="numpy")


def matrix_products(sizes, batch_size, optimizer, X, Y):
    """The floor: the matrix products of an epoch and nothing else, in the layouts of helpers/nn/network.py."""
    params, gradient = (Params(np.full(count_params(sizes), 0.01, np.float32), sizes) for _ in range(2))
    H, dH, dA = ([np.full((batch_size, d), 0.01, np.float32) for d in sizes[1:]] for _ in range(3))

    def epoch():
        for i in range(0, len(X), batch_size):
            inputs = [X[i : i + batch_size], *H]
            for k, (W, _) in enumerate(params.layers):
                np.matmul(inputs[k], W, out=H[k])
            for k in reversed(range(len(params.layers))):
                np.matmul(inputs[k].T, dA[k], out=gradient.layers[k][0])
                if k > 0:
                    np.matmul(dA[k], params.layers[k][0].T, out=dH[k - 1])

    return epoch, None


def scikit_learn(sizes, batch_size, optimizer, X, Y):
    """MLPClassifier; it has no nadam, so it runs adam, which is less work."""
    from sklearn.neural_network import MLPClassifier

    solver = {"solver": "adam"} if optimizer == "nadam" else {"solver": "sgd", "momentum": 0}
    network = MLPClassifier(
        sizes[1:-1], batch_size=batch_size, alpha=0, learning_rate_init=RATES[optimizer], random_state=0, **solver
    )
    labels, classes = Y.argmax(axis=1), np.arange(Y.shape[1])
    return lambda: network.partial_fit(X, labels, classes=classes), network.predict_proba


def keras_on_jax(sizes, batch_size, optimizer, X, Y):
    """The whole training step compiled (jit_compile), nothing printed."""
    import keras

    hidden = [keras.layers.Dense(d, activation="relu") for d in sizes[1:-1]]
    network = keras.Sequential([keras.Input((sizes[0],)), *hidden, keras.layers.Dense(sizes[-1], activation="softmax")])
    rule = {"nadam": keras.optimizers.Nadam, "sgd": keras.optimizers.SGD}[optimizer]
    network.compile(rule(RATES[optimizer]), loss="categorical_crossentropy", jit_compile=True)
    return (
        lambda: network.fit(X, Y, batch_size=batch_size, epochs=1, verbose=0),
        lambda X: network.predict(X, batch_size=1000, verbose=0),
    )


def torch_eager(sizes, batch_size, optimizer, X, Y, compiled=False):
    """Tensors in memory, no DataLoader."""
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(n, m) for n, m in pairwise(sizes)]
    for layer in layers:  # the same initial weights as the others
        torch.nn.init.xavier_uniform_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    between = [part for layer in layers[:-1] for part in (layer, torch.nn.ReLU())]
    network = torch.nn.Sequential(*between, layers[-1])
    rule = {"nadam": torch.optim.NAdam, "sgd": torch.optim.SGD}[optimizer]
    rule = rule(network.parameters(), lr=RATES[optimizer])
    cross_entropy = torch.nn.CrossEntropyLoss()
    images, labels = torch.from_numpy(X), torch.from_numpy(Y.argmax(axis=1))

    def loss(x, y):
        return cross_entropy(network(x), y)

    loss = torch.compile(loss) if compiled else loss

    def epoch():
        for index in torch.randperm(len(images)).split(batch_size):
            rule.zero_grad()
            loss(images[index], labels[index]).backward()
            rule.step()

    def predict(X):
        with torch.no_grad():
            return network(torch.from_numpy(X)).softmax(dim=1).numpy()

    return epoch, predict


def torch_compiled(*arguments):
    """The forward and the backward pass compiled by TorchInductor."""
    return torch_eager(*arguments, compiled=True)


def jax_epoch(sizes, batch_size, optimizer, X, Y):
    """A whole epoch as one compiled program: lax.scan over the batches under jit."""
    import jax
    import jax.numpy as jnp
    import optax

    rule = {"nadam": optax.nadam, "sgd": optax.sgd}[optimizer](RATES[optimizer])
    rng = np.random.default_rng(0)
    limits = [np.sqrt(6 / (n + m)) for n, m in pairwise(sizes)]
    params = [
        (jnp.asarray(rng.uniform(-a, a, (n, m)), jnp.float32), jnp.zeros(m))
        for a, (n, m) in zip(limits, pairwise(sizes), strict=True)
    ]
    state, images, labels = rule.init(params), jnp.asarray(X), jnp.asarray(Y)

    def logits(params, x):
        for W, b in params[:-1]:
            x = jax.nn.relu(x @ W + b)
        W, b = params[-1]
        return x @ W + b

    def loss(params, x, y):
        return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(logits(params, x)), axis=1))

    def step(carry, index):
        params, state = carry
        gradient = jax.grad(loss)(params, images[index], labels[index])
        updates, state = rule.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order)[0], donate_argnums=0)
    carry = (params, state)

    def epoch():
        nonlocal carry
        carry = jax.block_until_ready(run(carry, rng.permutation(len(X)).reshape(-1, batch_size)))

    return epoch, lambda X: np.asarray(jax.nn.softmax(logits(carry[0], X)))


CONTESTANTS = {
    "matrix products alone": matrix_products,
    "this project": this_project,
    "this project, NumPy alone": this_project_numpy,
    "JAX, compiled epoch": jax_epoch,
    "Keras on JAX": keras_on_jax,
    "PyTorch eager": torch_eager,
    "PyTorch compiled": torch_compiled,
    "scikit-learn": scikit_learn,
}
