"""What colours look like to a colour-blind reader, and how far apart two of them are.

Simulation: Machado, Oliveira and Fernandes 2009, IEEE TVCG 15(6), severity 1. Distance: CIE 1976.
"""

import math

SIGHTS = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
}
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.95047, 1.0, 1.08883)


def linear(colour):
    """Turn #rrggbb into linear light."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def times(matrix, vector):
    return [sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix]


def lab(light):
    clipped = [min(1.0, max(0.0, one)) for one in light]
    scaled = [one / white for one, white in zip(times(TO_XYZ, clipped), WHITE, strict=True)]
    x, y, z = (math.cbrt(s) if s > 0.008856 else 7.787 * s + 16 / 116 for s in scaled)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one, other, sight):
    seen = (lab(times(SIGHTS[sight], linear(colour))) for colour in (one, other))
    return math.dist(*seen)


def contrast(one, other):
    """Return the WCAG contrast ratio, from 1 to 21."""
    low, high = sorted(times(TO_XYZ, linear(colour))[1] for colour in (one, other))
    return (high + 0.05) / (low + 0.05)
