"""Run real commands under random faults, and check what README promises; print the faults and what they broke.

Examples: python -m tests.chaos --minutes 60
          python -m tests.chaos --seed 7 --scenarios train --rounds 1

A round starts one command again and again in a new folder: each time with a fault, and in the end without one. Faults
are signals (once or twice, to the command, to a worker or to all processes), and servers (of W&B, of a database) that
fail and return. The scenarios take turns. The seed of a round is printed, and determines its faults on this machine;
their effect depends on the moment that they meet.
"""

import argparse
import collections
import random
import sys
import time
import traceback

from tests.chaos.rounds import draw_fault, run_round, shrink
from tests.chaos.scenarios import SCENARIOS, Broken


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
        name = args.scenarios[(seed - first) % len(args.scenarios)]
        faults = [draw_fault(rng, SCENARIOS[name]) for _ in range(rng.randint(2, 6))]
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
    sys.exit(main())
