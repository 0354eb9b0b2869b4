"""The benchmark: this project and other libraries train the same networks on the same images, in turn.

    pip install -r tests/benchmark/requirements.txt
    python -m tests.benchmark [race] [networks] [cores] [scaling] [busy] [side] [rest] [pictures]

race, networks and scaling pin every contestant to the same core; cores gives each all cores, with default settings;
busy repeats epochs while other processes occupy the cores; side trains side by side, as `train_each` does, and one
after the other; rest measures start-up, memory, evaluation and the search; pictures measures the accuracy on
photographs, see helpers/data/README.md. Without arguments all parts run, in about 45 minutes on a machine with nothing
else to do. They print Markdown tables; race and scaling also draw the figures in .images/.
"""

import io
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import numpy as np

from helpers import load_data, model_train
from helpers.data.pictures import prepare, read_picture
from helpers.experiment import metrics
from tests.benchmark.contestants import CONTESTANTS
from tests.benchmark.processes import contest, spin
from tests.support.photographs import WAYS, photograph

ROOT = Path(__file__).parents[2]
OURS, FLOOR = "this project", "matrix products alone"
QUIET = {"CI": "true", "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
ALONE = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
CORE = max(os.sched_getaffinity(0))
IMAGES, HALF, FEW = 53_760, 26_880, 13_312  # multiples of every batch size

GRID = """
method: grid
metric: {name: val_accuracy, goal: maximize}
parameters:
  seed: {values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}
  epochs: {value: 5}
"""
SIZES = (([32] * 3, 16), ([128] * 3, 64), ([239] * 6, 32), ([1024, 512], 256), ([2048, 1024], 256))
NETWORKS = [  # sizes of the hidden layers, batch size
    *(([width] * depth, batch) for width, depth in ((32, 3), (128, 3), (128, 5)) for batch in (16, 64, 256)),
    ([239] * 6, 32),
    ([1024, 512], 256),
]


def race(hidden, batch_size, optimizer, *, names=CONTESTANTS, count=FEW, rounds=5, cores="one"):
    """Return {name: (seconds of the first epoch, seconds of each later one, validation accuracy at the end)}.

    cores="one" pins all contestants to one core and one thread; "all" leaves them their default settings.
    """
    for name in ALONE:
        os.environ.pop(name, None)
    os.environ |= QUIET | (ALONE if cores == "one" else {})  # read when NumPy is loaded in the new processes
    core = CORE if cores == "one" else None
    spawn, pipes, results = multiprocessing.get_context("spawn"), {}, {}
    for name in names:
        pipes[name], end = spawn.Pipe()
        spawn.Process(target=contest, args=(end, core, name, count, hidden, batch_size, optimizer), daemon=True).start()
        end.close()  # so that a contestant that dies is an EOFError here
    seconds = {name: [] for name in names}
    for _ in range(1 + rounds):
        for name, pipe in pipes.items():
            pipe.send("epoch")
            seconds[name].append(pipe.recv())
    for name, pipe in pipes.items():
        pipe.send("accuracy")
        results[name] = (seconds[name][0], seconds[name][1:], pipe.recv())
    return results


def spelt(hidden):
    return "-".join(map(str, hidden)) if len(set(hidden)) > 1 else f"{hidden[0]}×{len(hidden)}"


def show_race():
    results = race([128] * 3, 64, "nadam", count=IMAGES, rounds=7)
    ours, floor = (statistics.median(results[name][1]) for name in (OURS, FLOOR))
    print(f"\n784-128×3-10, batch 64, nadam, {IMAGES:,} images, one core, seconds per epoch (median of 7, min–max)\n")
    print(
        "| | epoch, s (min–max) | relative to this project | relative to the products | first epoch, s "
        "| validation accuracy |\n|---|---|---|---|---|---|"
    )
    for name, (first, seconds, accuracy) in results.items():
        middle = statistics.median(seconds)
        score = f"{accuracy:.4f}" if accuracy else ""
        print(
            f"| {name} | {middle:.3f} ({min(seconds):.3f}–{max(seconds):.3f}) | {middle / ours:.2f} "
            f"| {middle / floor:.2f} | {first:.1f} | {score} |"
        )
    draw_race(results, floor)


def draw_race(results, floor):
    plt = pyplot()
    names = sorted(results, key=lambda name: -statistics.median(results[name][1]))
    middles = [statistics.median(results[name][1]) for name in names]
    low, high = ([limit(results[name][1]) for name in names] for limit in (min, max))
    spread = [np.subtract(middles, low), np.subtract(high, middles)]
    colours = ["#0072B2" if name == OURS else "#BBBBBB" if name == FLOOR else "#E69F00" for name in names]
    _, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    bars = axes.barh(names, middles, color=colours, xerr=spread, error_kw={"ecolor": "#444444"})
    axes.bar_label(bars, [f"{m:.2f} s" for m in middles], padding=6)
    axes.axvline(floor, color="#444444", linewidth=1, linestyle=":")
    axes.set(xlabel="seconds per epoch, one core: 784-128×3-10, batch 64, nadam", xlim=(0, 1.15 * max(high)))
    axes.set_title(f"This project takes {middles[names.index(OURS)] / floor:.2f} times as long as its matrix products")
    axes.spines[["top", "right"]].set_visible(False)
    plt.savefig(ROOT / ".images" / "benchmark.png", dpi=150)


def show_networks():
    """Print how long the others take, as multiples of this project's time, for every network on one core."""
    print(f"\nTime of the others divided by this project's, one core ({FEW:,} images, median of 5 epochs)\n")
    show_ratios([(*network, optimizer) for optimizer in ("nadam", "sgd") for network in NETWORKS], count=FEW)


def show_cores():
    """Print the same for five networks on all cores, each contestant with its default settings."""
    print(f"\nTime of the others divided by this project's, all cores ({HALF:,} images, median of 5 epochs)\n")
    show_ratios([(*network, "nadam") for network in SIZES], count=HALF, cores="all")


def show_ratios(networks, **settings):
    """Print a row of ratios for each network."""
    others = [name for name in CONTESTANTS if name not in (OURS, FLOOR)]
    print(f"| network | batch | optimizer | this project / products | {' | '.join(others)} | accuracies |")
    print("|---" * (5 + len(others)) + "|")
    for hidden, batch, optimizer in networks:
        results = race(hidden, batch, optimizer, **settings)
        middle = {name: statistics.median(seconds) for name, (_, seconds, _) in results.items()}
        scores = [accuracy for _, _, accuracy in results.values() if accuracy]
        row = [spelt(hidden), batch, optimizer, f"{middle[OURS] / middle[FLOOR]:.2f}"]
        row += [f"{middle[name] / middle[OURS]:.2f}" for name in others]
        print(f"| {' | '.join(map(str, row))} | {min(scores):.3f}–{max(scores):.3f} |", flush=True)


def show_scaling():
    """Draw how the time of an epoch grows with width, depth and batch size."""
    sweeps = {
        "units in each of 3 layers, batch 64": [(w, ([w] * 3, 64)) for w in (32, 64, 128, 256, 512, 1024)],
        "hidden layers of 128, batch 64": [(d, ([128] * d, 64)) for d in (1, 2, 3, 5, 8)],
        "batch size, 3 layers of 128": [(b, ([128] * 3, b)) for b in (8, 16, 32, 64, 128, 256, 512)],
    }
    plt = pyplot()
    _, panels = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for axes, (label, points) in zip(panels, sweeps.items(), strict=True):
        times = {OURS: [], FLOOR: []}
        for value, (hidden, batch) in points:
            for name, (_, seconds, _) in race(hidden, batch, "nadam", names=times, rounds=3).items():
                times[name].append(statistics.median(seconds) * 54_000 / FEW)
            print(f"{label}: {value}: {times[OURS][-1]:.2f} s, products {times[FLOOR][-1]:.2f} s", flush=True)
        for name, colour, style in ((OURS, "#0072B2", "o-"), (FLOOR, "#777777", "s:")):
            axes.plot([value for value, _ in points], times[name], style, color=colour, label=name)
        axes.set(xlabel=label, xscale="log", yscale="log" if axes is panels[0] else "linear")
        axes.set_xticks([value for value, _ in points], [str(value) for value, _ in points], minor=False)
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        if axes is panels[0]:
            axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        else:
            axes.set_ylim(0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("seconds for 54,000 images")
    panels[0].legend(frameon=False)
    plt.savefig(ROOT / ".images" / "scaling.png", dpi=150)


def show_busy():
    """Print the time of an epoch with nothing else running, and how many times as long it takes on busy cores."""
    spawn = multiprocessing.get_context("spawn")
    names = (OURS, "JAX, compiled epoch", "PyTorch eager")
    print(
        f"\nSeconds per epoch ({FEW:,} images, nadam, all cores, median of 5 epochs), and in brackets how many times as"
    )
    print("long the median and the fastest epoch take with one other process per core\n")
    print(f"| network | batch | {' | '.join(names)} |\n{'|---' * (2 + len(names))}|")
    for hidden, batch in (*SIZES[:2], ([128] * 3, 256), ([512, 256], 128), *SIZES[3:]):
        quiet = race(hidden, batch, "nadam", names=names, cores="all")
        others = [spawn.Process(target=spin, daemon=True) for _ in os.sched_getaffinity(0)]
        for process in others:
            process.start()
        busy = race(hidden, batch, "nadam", names=names, cores="all")
        for process in others:
            process.kill()
        cells = []
        for name in names:
            alone, shared = quiet[name][1], busy[name][1]
            ratios = [f"{function(shared) / function(alone):.1f}" for function in (statistics.median, min)]
            cells.append(f"{statistics.median(alone):.3f} ({', '.join(ratios)})")
        print(f"| {spelt(hidden)} | {batch} | {' | '.join(cells)} |", flush=True)


def show_side_by_side(rounds=3, trainings=6):
    """Print how many times as fast `train_each` is with a process per core, and the memory of these processes."""
    workers = len(os.sched_getaffinity(0))
    call = "from tests.benchmark.processes import train_seeds; print(*train_seeds({}, {}, {}, {}))"
    print(f"\n{trainings} trainings, one after the other and with {workers} processes (median of {rounds})\n")
    print("| network | batch | one, s | side by side, s | times as fast | memory of the processes, MB |")
    print("|---|---|---|---|---|---|")
    for hidden, batch in (([128] * 3, 64), ([32] * 3, 16)):
        seconds, memory = {1: [], workers: []}, []
        for _ in range(rounds):
            for number, times in seconds.items():
                *_, taken, used = python("-c", call.format(trainings, number, hidden, batch)).split()
                times.append(float(taken))
                memory += [float(used)] if number > 1 else []
        one, side = (statistics.median(times) for times in seconds.values())
        cells = (
            spelt(hidden),
            batch,
            f"{one:.1f}",
            f"{side:.1f}",
            f"{one / side:.2f}",
            f"{statistics.median(memory):.0f}",
        )
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def show_rest():
    """Print start-up times, loading, memory, evaluation throughput and trials of the search per minute."""
    script = "import resource, time; started = time.perf_counter(); "
    memory = "\nprint(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"
    load = "from helpers.data import load_data; data = load_data(); "
    evaluation = (
        load + "from helpers.nn import intial_weights; from helpers.experiment.metrics import predict; "
        "p = intial_weights(3, 128); predict(p, data.x_train, activation='ReLU'); started = time.perf_counter(); "
        "predict(p, data.x_train, activation='ReLU')"
    )
    train = load + "from helpers import model_train; model_train(data, epochs=2)"
    print("\n| | |\n|---|---|")
    for label, code in {
        "`import helpers.nn`": "import helpers.nn",
        "loading Fashion-MNIST, with the imports": load,
        "loading and two epochs of 784-128×3-10": train,
        "evaluating 54,000 images, 784-128×3-10": evaluation,
    }.items():
        runs = [python("-c", script + code + memory).split()[-2:] for _ in range(5)]
        seconds, megabytes = (statistics.median(float(run[i]) for run in runs) for i in range(2))
        print(f"| {label} | {seconds:.2f} s, {megabytes:.0f} MB at most |", flush=True)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        python("-m", "helpers.train", "--help")
        seconds.append(time.perf_counter() - started)
    print(f"| `python -m helpers.train --help` | {statistics.median(seconds):.2f} s |")
    for workers in (1, 2, 1, 2):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "grid.yaml").write_text(GRID)
            started = time.perf_counter()
            storage = f"sqlite:///{folder}/sweep.db"
            python(
                "-m", "helpers.sweep", f"{folder}/grid.yaml", "--trials", "12", "--workers", str(workers),
                "--storage", storage, "--results", f"{folder}/grid.csv",
            )  # fmt: skip
            rate = 12 * 60 / (time.perf_counter() - started)
            print(
                f"| the search, trials of 5 epochs of 784-128×3-10, {workers} worker(s) | {rate:.1f} per minute |",
                flush=True,
            )


def show_pictures(count=500):
    """Print the accuracy on test images that are drawn on 600 × 800 pixels, stored as JPEG and prepared again."""
    print(f"\nAccuracy on {count} test images, and on photographs of them\n")
    print(f"| data | original | {' | '.join(WAYS)} |\n{'|---' * (2 + len(WAYS))}|")
    for dataset in ("fashion_mnist", "mnist"):
        data = load_data(dataset)
        settings = {"num_layers": 2, "hidden_size": 256, "batch_size": 128, "schedule": "cosine", "dropout": 0.1}
        params, _ = model_train(data, epochs=8, progress=False, **settings)
        images, rng = data.x_test[:count], np.random.default_rng(0)
        cells = [images]
        for way in WAYS:
            files = [io.BytesIO() for _ in images]
            for image, file in zip(images, files, strict=True):
                photograph(image, way, rng).save(file, "jpeg")
            cells.append(np.array([prepare(read_picture(file), data.class_names)[0] for file in files]))
        predictions = [metrics.predict(params, X, activation="ReLU") for X in cells]
        scores = [metrics.accuracy(Y_hat, data.y_test[:count]) for Y_hat in predictions]
        print(f"| {data.name} | {' | '.join(f'{score:.3f}' for score in scores)} |", flush=True)


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def pyplot():
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    return plt


PARTS = {
    "race": show_race,
    "networks": show_networks,
    "cores": show_cores,
    "scaling": show_scaling,
    "busy": show_busy,
    "side": show_side_by_side,
    "rest": show_rest,
    "pictures": show_pictures,
}

if __name__ == "__main__":
    words = sys.argv[1:] or list(PARTS)
    unknown = set(words) - set(PARTS)
    if unknown:
        sys.exit(f"{', '.join(sorted(unknown))}: unknown; choose from {', '.join(PARTS)}")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for word in words:
        PARTS[word]()
