"""Figures of a network: diagrams, its functions, and the scale of its activations and gradients."""

import itertools

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Ellipse, FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from helpers.lesson.figures import style
from helpers.nn.network import forward_propagation


def network_diagram(sizes, title):
    """Draw a network with these numbers of inputs, hidden units and classes, and the names and shapes of its arrays."""
    last = len(sizes) - 1
    alt = f"Diagram of a network: layers of {style.sentence(sizes)} units, fully connected, from left to right"
    gap = 8.5 / (last + 0.75)  # inches between columns
    counts = [min(size, 3 + int(np.log2(size)) // 2) for size in sizes]
    columns = [0.55 * (np.arange(count) - (count - 1) / 2) for count in counts]
    height = 0.55 * max(counts)
    with style.figure(size=(8.5, height + 2.4), title=title, alt=alt) as (_, axis):
        axis.set(xlim=(-0.38 * gap, (last + 0.38) * gap), ylim=(-height / 2 - 0.75, height / 2 + 1.2), aspect="equal")
        axis.set_axis_off()
        before = []
        for k, (size, column) in enumerate(zip(sizes, columns, strict=True)):
            x, middle = k * gap, len(column) // 2
            name = f"H_{k}" + (" = X" if k == 0 else r" = \hat{Y}" if k == last else "")
            axis.text(x, -height / 2 - 0.2, f"${name}$\n($N$, {size})", ha="center", va="top", linespacing=1.4)
            if len(column) < size:  # dots in the middle stand for the units that are not drawn
                axis.text(x, column[middle], "⋮", ha="center", va="center", fontsize=16)
                column = np.delete(column, middle)
            colour = style.YELLOW if k == 0 else style.GREEN if k == last else style.SKY
            for y in column:
                axis.add_patch(Ellipse((x, y), 0.38, 0.38, facecolor=colour, edgecolor="black", zorder=3))
            for ends in itertools.product(before, column):
                axis.plot([x - gap, x], ends, color="lightgrey", linewidth=0.8, antialiased=False, zorder=1)
            if k:
                shapes = f"$W_{k}$ ({sizes[k - 1]}, {size})\n$b_{k}$ ({size},)\n{'softmax' if k == last else '$f$'}"
                axis.text(x - gap / 2, height / 2 + 0.15, shapes, ha="center", va="bottom", linespacing=1.4)
            before = column


def layer_graph(title):
    """Draw the computational graph of one layer: forward propagation above, backward propagation below."""
    alt = "Graph of one layer. Forward: H of the layer before, times W plus b, gives A; f gives H. Backward: dH, times "
    alt += (
        "the derivative of f, gives dA; times W transposed it gives dH of the layer before. The stored H of the layer "
    )
    alt += "before and dA give dW; dA gives db"
    forward, backward = style.BLUE, style.ORANGE
    with style.figure(size=(8.5, 5), title=title, alt=alt) as (_, axis):
        axis.set(xlim=(-1.25, 7.75), ylim=(-2.35, 2.0), aspect="equal")
        axis.set_axis_off()

        def box(x, y, text, colour, width=1.3):
            shape = {"boxstyle": "round,pad=0.02,rounding_size=0.12", "facecolor": "white", "edgecolor": colour}
            axis.add_patch(FancyBboxPatch((x - width / 2, y - 0.36), width, 0.72, linewidth=2, **shape))
            axis.text(x, y, text, ha="center", va="center", fontsize=15)

        def arrow(start, end, colour, text=""):
            axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>,head_width=0.3", "color": colour, "lw": 2})
            x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            axis.text(x, y + 0.12, text, ha="center", va="bottom", fontsize=14, color=colour)

        for x, name in zip((0, 3.5, 7), ("H_{k-1}", "A_k", "H_k"), strict=True):
            box(x, 1.2, f"${name}$", forward)
            box(x, -0.35, f"$d{name}$", backward)
        arrow((0.7, 1.2), (2.8, 1.2), forward, "$\\times\\, W_k + b_k$")
        arrow((4.2, 1.2), (6.3, 1.2), forward, "$f$")
        arrow((6.3, -0.35), (4.2, -0.35), backward, r"$\circ\, f\,'(A_k)$")
        arrow((2.8, -0.35), (0.7, -0.35), backward, r"$\times\, W_k^\top$")
        arrow((3.2, -0.75), (1.9, -1.55), backward)
        arrow((3.8, -0.75), (5.1, -1.55), backward)
        stored = {"arrowstyle": "-|>,head_width=0.3", "color": forward, "lw": 2, "linestyle": "--"}
        axis.annotate("", (0.1, -1.95), (-0.7, 1.1), arrowprops=stored | {"connectionstyle": "arc3,rad=0.35"})
        axis.text(-1.2, -1.55, "stored", color=forward, fontsize=14)
        box(1.65, -1.95, r"$dW_k = H_{k-1}^\top\, dA_k$", backward, width=3.0)
        box(5.35, -1.95, r"$db_k = \sum_n dA_k$", backward, width=3.0)
        axis.text(-0.65, 1.75, "forward", color=forward, va="bottom", fontsize=14)
        axis.text(-0.65, 0.2, "backward", color=backward, va="bottom", fontsize=14)


def decision_regions(networks, X, labels, title):
    """Plot what ReLU networks with one hidden layer, ``{name: Params}``, predict in the plane, two in a row.

    `X` (N, 2) are the training points in the square from −1.2 to 1.2, `labels` (N,) their classes, at most six. A grey
    line is where a hidden unit is zero: on one side of it the unit is active.
    """
    ends, colours = np.array([-1.2, 1.2]), np.array(style.COLOURS[:6])
    x, y = np.meshgrid(np.linspace(*ends, 200), np.linspace(*ends, 200))
    alt = f"Maps of the predicted classes in the plane, with the lines of the hidden units: {style.sentence(networks)}"
    shape = {"rows": -(-len(networks) // 2), "columns": 2, "squeeze": False, "sharex": True, "sharey": True}
    with style.figure(**shape, size=(7.5, 3.8 * shape["rows"]), title=title, alt=alt) as (_, axes):
        for axis in axes.flat[len(networks) :]:
            axis.set_axis_off()
        for axis, (name, params) in zip(axes.flat, networks.items(), strict=False):
            predicted = [
                forward_propagation(params, Z, "ReLU")[-1].argmax(axis=1)
                for Z in (np.stack([x, y], -1).reshape(-1, 2), X)
            ]
            W, b = params.layers[0]
            axis.imshow(
                predicted[0].reshape(x.shape), cmap=ListedColormap(colours), vmin=0, vmax=5, alpha=0.35,
                extent=(*ends, *ends), origin="lower", interpolation="nearest",
            )  # fmt: skip
            for (u, v), c in zip(W.T, b, strict=True):  # u x + v y + c = 0
                if not (u or v):
                    continue
                line = (ends, -(c + u * ends) / v) if abs(v) > abs(u) else (-(c + v * ends) / u, ends)
                axis.plot(*line, color="dimgrey", linewidth=0.7)
            axis.scatter(*X.T, c=colours[labels], s=14, edgecolors="white", linewidths=0.4, zorder=3)
            axis.set(xlim=ends, ylim=ends, aspect="equal", xticks=[], yticks=[])
            axis.set_title(f"{name}: {np.mean(predicted[1] == labels):.0%} correct", fontsize=style.SMALL)
            axis.grid(visible=False)


def activation_functions(activations, title):
    """Plot functions f(A) and their derivatives in terms of H = f(A), as in ``ACTIVATIONS``; the identity is dashed."""
    A = np.linspace(-5, 5, 501)[None]
    alt = f"Line plots of activation functions and of their derivatives from −5 to 5: {style.sentence(activations)}"
    with style.figure(1, 2, size=(8, 4), title=title, alt=alt) as (_, axes):
        for name, (f, d_f), look in style.distinct(activations):
            look = {**look, "linestyle": "--"} if name == "identity" else look
            H = f(A)
            axes[0].plot(A[0], H[0], **look, label=name)
            axes[1].plot(A[0], d_f(H)[0], **look, label=name)
        axes[0].set(title="activation f(a)", xlabel="a", ylabel="f(a)", ylim=(-1.6, 3.1))
        axes[1].set(title="derivative f ′(a)", xlabel="a", ylabel="f ′(a)", ylim=(-0.1, 1.15))
        axes[0].legend(loc="upper left")


def loss_functions(losses, softmax, title):
    """Plot losses and their gradients, as in ``LOSSES``, against the probability of the true one of two classes."""
    logits = np.linspace(-8, 8, 401)
    Y_hat, Y = softmax(np.stack([logits, np.zeros_like(logits)], axis=1)), np.array([[1.0, 0.0]])
    alt = f"Line plots of losses and gradients against the probability of the true class: {style.sentence(losses)}"
    with style.figure(1, 2, size=(8, 4), title=title, alt=alt) as (_, axes):
        for name, (loss, d_loss), look in style.distinct(losses):
            axes[0].plot(Y_hat[:, 0], [loss(row[None], Y) for row in Y_hat], **look, label=style.words(name))
            gradient = [abs(d_loss(row[None], Y)[0, 0]) for row in Y_hat]
            axes[1].plot(Y_hat[:, 0], gradient, **look, label=style.words(name))
        axes[0].set(title="loss, two classes", ylabel="loss", ylim=(0, 5))
        axes[1].set(title="size of the gradient, two classes", ylabel="|dL/da|")
        for axis in axes:
            axis.set_xlabel("predicted probability\nof the true class")
        axes[0].legend()


def layer_scales(activations, gradients, title, source):
    """Plot the standard deviation of the activations and the norm of the gradient dW in each hidden layer.

    Both are ``{activation function: {initialisation scheme: [one value per hidden layer]}}``.
    """
    schemes = dict.fromkeys(scheme for column in activations.values() for scheme in column)
    looks = {scheme: look for scheme, _, look in style.distinct(schemes, marked=True)}
    names = f"columns: {style.sentence(activations)}; curves: {style.sentence(schemes)}"
    alt = f"Line plots, logarithmic: scale of the activations and of the gradients in each hidden layer; {names}"
    shape = {"rows": 2, "columns": len(activations), "sharex": True, "sharey": "row", "squeeze": False}
    with style.figure(**shape, size=(8.5, 5.6), title=title, alt=alt, source=source) as (fig, axes):
        for row, quantity in zip(axes, (activations, gradients), strict=True):
            for axis, name in zip(row, activations, strict=True):
                for scheme, values in quantity[name].items():
                    axis.semilogy(range(1, len(values) + 1), values, **looks[scheme], markersize=5, label=scheme)
        for (above, below), name in zip(axes.T, activations, strict=True):
            above.set_title(name)
            below.set_xlabel("hidden layer")
            below.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes[0, 0].set_ylabel("standard deviation\nof the activations")
        axes[1, 0].set_ylabel("norm of dW")
        style.legend_below(fig, axes[0, 0], columns=4)
