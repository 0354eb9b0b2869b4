"""Augmentation: other images with the same meaning. A batch X (N, d_0) has one image a row, read as a square."""

from helpers import checks


def mirrored(X):
    """Return the images of X (N, d²) with left and right exchanged. ValueError if d² is no square."""
    d = checks.square("X", X.shape[1])
    return X.reshape(-1, d, d)[:, :, ::-1].reshape(X.shape)


def flip(rng, X, share):
    """Mirror each image of X with the probability `share`, in place: a shirt is a shirt in a mirror too."""
    chosen = rng.random(len(X)) < share
    X[chosen] = mirrored(X[chosen])


def mixup(rng, X, Y, alpha):
    """x ← λx + (1−λ)x′ and y ← λy + (1−λ)y′, in place, for each image x and another one x′ of the batch.

    λ is drawn from Beta(α, α) for each image: the smaller α, the closer to 0 or 1. Zhang et al. 2018, section 2.
    """
    mix = rng.beta(alpha, alpha, (len(X), 1)).astype(X.dtype)
    other = rng.permutation(len(X))
    for Z in (X, Y):
        Z += (1 - mix) * (Z[other] - Z)
