"""Small building blocks of lesion shapes: soft steps, random textures, lumpy surfaces."""

import numpy as np
from numpy.typing import NDArray

from bundle.data.demo.projection import Rays
from bundle.data.demo.sampling import Array, resized


def soft_step(signed_mm: Array, width_mm: float) -> Array:
    """1 where `signed_mm` is well above 0, 0 well below, a smooth ramp of `width_mm` between; any shape."""
    t = np.clip(signed_mm / np.float32(width_mm) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def texture(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> Array:
    """Smooth noise in 0..1 with about `cells` independent values along each axis.

    Args:
        rng: source of the values.
        shape: of the result.
        cells: independent values along each axis.

    Returns:
        float32 array of that shape.
    """
    coarse = rng.random((cells,) * len(shape), dtype=np.float32)
    return resized(coarse, shape)


def lumpy_distance(
    rays: Rays, centre: tuple[float, float, float], radii: tuple[float, float, float], waves: NDArray[np.float64]
) -> Array:
    """Distance from the centre in units of the (lumpy) surface: 1 on the surface, below 1 inside.

    Args:
        rays: sample points, mm.
        centre: mm.
        radii: half axes of the ellipsoid, mm.
        waves: (N, 5) rows of amplitude, wave vector (3) and phase: each moves the surface by amplitude times the sine
            of the wave along the unit direction from the centre.

    Returns:
        (U, Y, W).
    """
    x = (rays.x - np.float32(centre[0])) / np.float32(radii[0])
    y = (rays.y - np.float32(centre[1])) / np.float32(radii[1])
    z = (rays.z - np.float32(centre[2])) / np.float32(radii[2])
    distance = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
    surface = np.ones_like(distance)
    for amplitude, kx, ky, kz, phase in waves.astype(np.float32):
        surface += amplitude * np.sin((kx * x + ky * y + kz * z) / distance + phase)
    return distance / np.clip(surface, 0.4, None)


def random_waves(rng: np.random.Generator, count: int, amplitude: float, frequency: float) -> NDArray[np.float64]:
    """`count` waves for :func:`lumpy_distance`, of up to that amplitude and of about that spatial frequency."""
    direction = rng.normal(0, frequency, (count, 3))
    return np.column_stack([rng.uniform(0, amplitude, count), direction, rng.uniform(0, 2 * np.pi, count)])
