"""Fixtures of the tests of the mathematics."""

import pytest


@pytest.fixture(scope="session")
def optax():
    """The optimizers of optax, in double precision: an independent reference, which takes long to import."""
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    return optax
