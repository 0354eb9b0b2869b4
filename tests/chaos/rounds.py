"""A fault, and a round: one command, started with each of several faults and then without one."""

import collections
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.chaos.scenarios import API_KEY, SCENARIOS, SIGNAL_CODES, Broken, require


def draw_fault(rng, scenario):
    """Return a random fault for one start of the scenario: a dict with its ``kind`` and the details."""
    kind = rng.choice(scenario.kinds)
    after = round(rng.uniform(0, scenario.seconds), 2)
    if kind == "server":
        trouble, lasts = rng.choice(scenario.troubles), rng.choice([0.5, 3, 10])
        return {"kind": kind, "trouble": trouble, "after": rng.choice([0.0, after]), "lasts": lasts}
    return {
        "kind": kind,
        "signals": [rng.choice(list(SIGNAL_CODES)) for _ in range(1 + (kind == "double"))],
        "target": rng.choice(scenario.targets),
        "after": after,
        "between": rng.choice([0.0, 0.05, 0.5]),
    }


def apply_fault(scenario, command, fault):
    """Hurt the running command; return its exit code (None if it hangs), and the signals that it received."""
    received = []
    if "signals" in fault:
        command.wait_for_handlers()
    if "after" in fault:
        command.wait(fault["after"])
    if "trouble" in fault:
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
    errors = command.text("err")
    if "SIGKILL" not in received:  # a process that is killed cannot say anything
        unexpected = "Traceback" in errors and not (received and "KeyboardInterrupt" in errors)
        require(not unexpected, "a traceback is printed")
    require(API_KEY not in command.text("out") + errors, "a secret is printed")
    left = command.left_over()
    require(not left, f"processes are left: {left}")
    scenario.check_start(fault, received)


def run_round(name, faults):
    """Run a scenario under the faults, in turn, and then without one; raise Broken if an invariant does not hold."""
    counts, killed = collections.Counter(), False
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        closing(SCENARIOS[name](Path(folder))) as scenario,
    ):
        for fault in [*faults, {"kind": "none"}]:
            command = scenario.start()
            try:
                code, received = apply_fault(scenario, command, fault)
                killed = killed or "SIGKILL" in received
                check_start(scenario, command, fault, code, received)
                scenario.check_always()
                if fault["kind"] == "none":
                    require(code == 0, f"exit code {code} without a fault")
                    scenario.check_end()
                    left = scenario.temporary_files()
                    require(killed or not left, f"temporary files are left: {left}")
            except Broken as error:
                lines = command.text("err").splitlines()[-15:]
                raise Broken(f"{error}, after {fault}\n  " + "\n  ".join(lines)) from None
            finally:
                command.close()
            details = [*received, fault["target"]] if received else [fault.get("trouble", "")]
            counts[" ".join([fault["kind"], *details])] += bool(received) or "trouble" in fault
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
