"""Run real commands under random faults, and check what README promises; print the faults and what they broke.

Examples: python -m tests.chaos --minutes 60
          python -m tests.chaos --seed 7 --scenarios train --rounds 1

A round starts one command again and again in a new folder: each time with a fault, and in the end without one. Faults
are signals (once or twice, to the command, to a worker or to all processes), a full disk (as root; elsewhere files that
cannot grow), output that cannot be written, and servers (of W&B, of a database) that fail and return. The seed of a
round is printed, and determines its faults; their effect depends on the moment that they meet.
"""

import argparse
import collections
import random
import sys
import time
import traceback
from contextlib import closing

from tests.chaos.processes import enter_namespace, fill, new_folder
from tests.chaos.scenarios import API_KEY, SCENARIOS, SIGNAL_CODES, Broken, require


def draw_fault(rng, scenario):
    """Return a random fault for one start of the scenario: a dict with its ``kind`` and the details."""
    kind = rng.choice(scenario.kinds)
    if kind == "file_limit":
        return {"kind": kind, "bytes": rng.choice([10, 1_000, 30_000, 150_000, 400_000])}
    if kind == "output":
        return {"kind": kind, "output": rng.choice(["full", "closed"])}
    after = round(rng.uniform(0, scenario.seconds), 2)
    if kind in ("disk", "server", "storage"):
        trouble = "full" if kind == "disk" else rng.choice(scenario.troubles)
        return {"kind": kind, "trouble": trouble, "after": rng.choice([0.0, after]), "lasts": rng.choice([0.5, 3, 10])}
    return {
        "kind": kind,
        "signals": [rng.choice(list(SIGNAL_CODES)) for _ in range(1 + (kind == "double"))],
        "target": rng.choice(scenario.targets),
        "after": after,
        "between": round(rng.choice([0.0, 0.05, 0.5]), 2),
    }


def apply_fault(scenario, command, fault):
    """Hurt the running command; return its exit code (None if it hangs), and the signals that it received."""
    received = []
    if "signals" in fault:
        command.wait_for_handlers()
    if "after" in fault:
        command.wait(fault["after"])
    if fault["kind"] == "disk":
        fill(scenario.folder / "ballast")
        command.wait(fault["lasts"])
        (scenario.folder / "ballast").unlink()
    elif "trouble" in fault:
        scenario.disturb(fault["trouble"])
        command.wait(fault["lasts"])
        scenario.disturb(None)
    for number, name in enumerate(fault.get("signals", ())):
        if command.process.poll() is not None:
            break
        if number:
            time.sleep(fault["between"])
        received += [name] if command.send(name, fault["target"]) else []
    return command.wait(scenario.limit), received


def check_start(scenario, command, fault, code, received):
    """Check one start of a command: its exit code, its output, and that no process is left."""
    require(code is not None, "the command hangs")
    allowed = scenario.exit_codes(fault, received)
    require(code in allowed, f"exit code {code}; allowed are {sorted(allowed)}")
    if "SIGKILL" not in received:  # a process that is killed cannot say anything
        require("Traceback" not in command.text("err"), "a traceback is printed")
    require(API_KEY not in command.text("out") + command.text("err"), "a secret is printed")
    left = command.left_over()
    require(not left, f"processes are left: {left}")
    scenario.check_start(fault, received)


def run_round(name, faults):
    """Run a scenario under the faults, in turn, and then without one; raise Broken if an invariant does not hold."""
    counts = collections.Counter()
    with new_folder() as folder, closing(SCENARIOS[name](folder)) as scenario:
        for fault in [*faults, {"kind": "none"}]:
            options = {"file_limit": fault.get("bytes"), "output": fault.get("output", "file")}
            if fault["kind"] == "none":
                scenario.age_leftovers()
            command = scenario.start(**options)
            try:
                code, received = apply_fault(scenario, command, fault)
                check_start(scenario, command, fault, code, received)
                scenario.check_always()
                if fault["kind"] == "none":
                    require(code == 0, f"exit code {code} without a fault")
                    scenario.check_end()
                    require(not scenario.leftovers(), f"temporary files are left: {scenario.leftovers()}")
            except Broken as error:
                lines = command.text("err").splitlines()[-15:]
                raise Broken(f"{error}, after {fault}\n  " + "\n  ".join(lines)) from None
            finally:
                command.close()
            details = [*received, fault["target"]] if received else [fault.get("trouble", "")]
            label = " ".join([fault["kind"], *details]).strip()
            counts[label] += fault["kind"] != "none" and (bool(received) or "signals" not in fault)
    return +counts


def shrink(name, faults):
    """Return the shortest list of faults, of those tried, that still breaks the scenario, and what it breaks."""
    shortest, why = faults, None
    for index in reversed(range(len(faults))):
        fewer = [fault for fault in shortest if fault is not faults[index]]
        try:
            run_round(name, fewer)
        except Broken as error:
            shortest, why = fewer, error
    return shortest, why


def main():
    """Run rounds until the time is over; return the exit code: 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5, help="for how long new rounds begin (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10**9, help="at most this many rounds")
    parser.add_argument("--seed", type=int, help="seed of the first round; the next round has the next seed")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    args = parser.parse_args()
    first = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    end, counts, broken = time.monotonic() + 60 * args.minutes, collections.Counter(), []
    for seed in range(first, first + args.rounds):
        if time.monotonic() > end:
            break
        rng = random.Random(seed)
        name = rng.choice(args.scenarios)
        scenario = SCENARIOS[name]
        faults = [draw_fault(rng, scenario) for _ in range(rng.randint(2, 6))]
        try:
            found = run_round(name, faults)
        except Broken as error:
            shortest, why = shrink(name, faults)
            broken.append(seed)
            print(f"seed {seed}, {name}: {error}\n  shortest: {shortest}\n  {why or 'not repeated'}", flush=True)
        except Exception:  # an error of the harness
            traceback.print_exc()
            broken.append(seed)
        else:
            counts.update({f"{name}: {label}": count for label, count in found.items()})
            print(f"seed {seed}, {name}: {sum(found.values())} faults, all invariants hold", flush=True)
    for label, count in sorted(counts.items()):
        print(f"{count:4d}  {label}")
    print(f"{sum(counts.values())} faults; broken invariants: {broken or 'none'}")
    return 1 if broken else 0


if __name__ == "__main__":
    enter_namespace("tests.chaos")
    sys.exit(main())
