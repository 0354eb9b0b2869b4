"""A fault, and a round: one command, started with each of several faults and then without one."""

import collections
import time
from contextlib import closing

from tests.chaos.processes import fill, new_folder
from tests.chaos.scenarios import API_KEY, SCENARIOS, SIGNAL_CODES, Broken, require

SIGNALS = ("signal", "double")  # the kinds of faults that are signals


def draw_fault(rng, scenario, kinds=None):
    """Return a random fault for one start of the scenario: a dict with its ``kind`` and the details."""
    kind = rng.choice(kinds or scenario.kinds)
    if kind == "file_limit":
        return {"kind": kind, "bytes": rng.choice([10, 1_000, 30_000, 150_000, 400_000])}
    if kind == "output":
        return {"kind": kind, "output": rng.choice(["full", "closed"])}
    after = round(rng.uniform(0, scenario.seconds), 2)
    if kind == "clock":
        return {"kind": kind, "jump": rng.choice([-86400, -60, 60, 86400]), "after": after}
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
    if fault["kind"] == "clock":
        (scenario.folder / "clock").write_text(str(fault["jump"]), "utf-8")
    elif fault["kind"] == "disk":
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
            options["clock"] = fault["kind"] == "clock"
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
            details = [*received, fault["target"]] if received else [str(fault.get("jump", fault.get("trouble", "")))]
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
