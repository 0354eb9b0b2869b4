"""Data augmentation. A batch X (N, d²) has one image per row, read as a square of d × d pixels."""

from helpers.nn.validation import image_width


def horizontal_flip(X):
    """Return the images of X (N, d²) with left and right exchanged."""
    d = image_width("X", X.shape[1])
    return X.reshape(-1, d, d)[:, :, ::-1].reshape(X.shape)


def random_horizontal_flip(rng, X, p):
    """Flip each image of X (N, d²) with probability `p`, in place."""
    chosen = rng.random(len(X)) < p
    X[chosen] = horizontal_flip(X[chosen])


def mixup(rng, X, Y, alpha):
    """x ← λx + (1−λ)x′ and y ← λy + (1−λ)y′, in place, with another image x′ of the batch.

    λ is drawn from Beta(α, α) for each image: the smaller α, the closer λ is to 0 or 1 (Zhang et
    al. 2018, section 2).
    """
    mix = rng.beta(alpha, alpha, (len(X), 1)).astype(X.dtype)
    other = rng.permutation(len(X))
    for Z in (X, Y):
        Z += (1 - mix) * (Z[other] - Z)
