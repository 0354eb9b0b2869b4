"""Real commands under random faults, and checks of what README promises: python -m tests.chaos --minutes 60."""
