"""What all figures share: colours, title, PNG with an alternative text, legends, and the listing of a function.

The PNG has few colours, which makes it small, and 140 dots per inch, which makes it sharp. Its text can be read on a
phone, where a figure of 850 pixels is 390 pixels wide. Matplotlib's global settings are not changed.

The colours are those of Okabe and Ito (2008) but for yellow: their vermilion is ORANGE here, their orange YELLOW. They
are distinguishable with the common colour-vision deficiencies. Images have Matplotlib's colormaps, named where they are
drawn: Greys, PuOr, Blues, Oranges.
"""

import inspect
import io
import itertools
import textwrap
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

DPI = 140  # of the PNG; the notebook shows it as if it had 100
PNG_COLOURS = 64
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK = COLOURS
LINE_STYLES = plt.cycler(linestyle=["-", "-.", ":", "--"])
CURVES = LINE_STYLES * plt.cycler(color=COLOURS)  # 28 different curves, the first seven with solid lines
MARKED_CURVES = LINE_STYLES * plt.cycler(color=COLOURS, marker="os^Dv*P")
SMALL = 10.5  # the smallest font
STYLE = {
    "axes.prop_cycle": plt.cycler(color=COLOURS), "lines.linewidth": 2, "legend.frameon": False, "figure.dpi": 100,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "grid.alpha": 0.3,
    "font.size": 12, "axes.titlesize": 13, "axes.labelsize": 13, "figure.titlesize": 14, "figure.titleweight": "bold",
}  # fmt: skip
WORDS = {  # parts of names whose words are not those between the underscores
    "cross_entropy": "cross-entropy", "mean_squared_error": "squared error", "num_layers": "hidden layers",
    "weight_init": "initialisation", "val_accuracy": "validation accuracy", "val_loss": "validation loss",
    "train_accuracy": "training accuracy", "train_loss": "training loss",
}  # fmt: skip


@contextmanager
def figure(rows=1, columns=1, *, size, title, alt, source=None, **subplots):
    """Create a figure and its axes in the style of the notebook; show and close it at the end of the block.

    `size` is width and height in inches. `alt` says what kind of plot it is and what it contains, without a full stop;
    with the title it is the alternative text. The other keywords are those of `matplotlib.pyplot.subplots`.
    """
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **subplots)
        try:
            write_title(fig, title)
            yield fig, axes
            if source:
                fig.supxlabel(source, x=0.995, ha="right", fontsize=SMALL, color="dimgrey")
            show(fig, f"{alt}. {title}")
        finally:
            plt.close(fig)


def write_title(fig, title):
    """Write the title of the figure, left-aligned, in lines of similar length that are not wider than the figure."""
    text, width = fig.suptitle(title, x=0.01, ha="left"), len(title)
    while text.get_window_extent().x1 > 0.99 * fig.bbox.width and width > 1:
        width -= 1
        text.set_text(textwrap.fill(title, width))
    while width > 1 and len(textwrap.wrap(title, width - 1)) == len(textwrap.wrap(title, width)):
        width -= 1
    text.set_text(textwrap.fill(title, max(width, 1)))


def show(fig, alt):
    """Display the figure as a PNG with a palette, with its width in the notebook and the alternative text."""
    from IPython import get_ipython
    from IPython.display import display
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=DPI)
    image = Image.open(drawn).convert("RGB")
    # This method keeps the colours of thin lines, and one pass of k-means those of large areas.
    image = image.quantize(PNG_COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    image.save(small, format="png", optimize=True)
    output = {"image/png": small.getvalue(), "text/plain": alt}
    if get_ipython() is None:  # a script, where `display` would print the bytes
        print(alt)
        return
    display(output, metadata={"image/png": {"width": round(100 * fig.get_figwidth()), "alt": alt}}, raw=True)


def show_source(*functions):
    """Display the source code of the functions, as it is in their modules."""
    from IPython.display import Markdown, display

    listing = "\n\n".join(inspect.getsource(function).rstrip() for function in functions)
    # nbconvert's HTML takes the font of the surrounding element: without this one the listing would be proportional.
    display(Markdown(f'<div style="font-family: monospace">\n\n```python\n{listing}\n```\n\n</div>'))


def words(name):
    """Return the words of a name: "cross_entropy" is "cross-entropy", and "batch_size" is "batch size"."""
    text = str(name)
    for part, replacement in WORDS.items():
        text = text.replace(part, replacement)
    return text.replace("_", " ")


def decimal(value):
    """Return a number without an exponent, and anything else as a text."""
    return np.format_float_positional(value, 8, fractional=False, trim="-") if isinstance(value, float) else str(value)


def sentence(names):
    """Return the names, in words, as one text."""
    return ", ".join(map(words, names))


def seeds(counts):
    """Return a text such as "3 seeds" or "3 to 5 seeds" for the numbers of seeds of several curves."""
    return f"{min(counts)} seeds" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} seeds"


def distinct(curves, marked=False):
    """Return ``(name, values, look)`` for each item of a dict: colour, line style and perhaps marker of its curve."""
    looks = itertools.cycle(MARKED_CURVES if marked else CURVES)
    return [(name, values, next(looks)) for name, values in curves.items()]


def mean_and_range(axis, values, label, **look):
    """Plot the mean of the columns of a table against its index, and their range as a band, if there are several."""
    (line,) = axis.plot(values.index, values.mean(axis=1), label=label, **look)
    if values.shape[1] > 1:
        low, high = values.min(axis=1), values.max(axis=1)
        axis.fill_between(values.index, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def percent(*axes):
    """Write the tick labels of the x or y axes in per cent, without needless decimals."""
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))


def epoch_axes(axis, column):
    """Label the axes of a curve over the epochs, for a column of a training history."""
    axis.set(xlabel="epoch", ylabel=words(column))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if "accuracy" in column:
        percent(axis.yaxis)


def legend(axis, title=None):
    """Draw the legend at the right of the axes, with long names in several lines."""
    handles, labels = axis.get_legend_handles_labels()
    labels = [textwrap.fill(label, 22) for label in labels]
    axis.legend(handles, labels, title=title, loc="center left", bbox_to_anchor=(1, 0.5), alignment="left")


def legend_below(fig, axis, columns=3):
    """Draw the legend of the axes below all axes of the figure."""
    fig.legend(*axis.get_legend_handles_labels(), loc="outside lower left", ncols=columns, columnspacing=1.4)
