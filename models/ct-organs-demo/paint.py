"""HU for structures: contrast phases for organs, and whole phantoms painted into a body of labels."""

import numpy as np
from bodies import Body
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Random = np.random.Generator

VESSELS_ARTERIAL = (52, 53, 54, 55, 56, 57, 58, 65, 66)
VESSELS_VENOUS = (59, 60, 62, 63, 64, 67, 68)
MUSCLES = tuple(range(80, 90))
BONES = (*range(25, 51), *range(69, 79), *range(91, 117))
LUNGS = (10, 11, 12, 13, 14)
# Organs whose HU the contrast phase decides; a real CT is repainted in these only.
ENHANCED = (1, 2, 3, 4, 5, 7, 8, 9, 51, *VESSELS_ARTERIAL, *VESSELS_VENOUS)
HOLLOW = (6, 18, 19, 20)


def phase(random: Random) -> Array:
    """Mean HU of each structure (256) in one contrast phase, drawn from none through arterial to venous.

    Ranges: liver 40 to 140, spleen and kidneys 35 to 280, aorta 35 to 400 HU.
    """
    venous = random.choice([0.0, random.uniform(0.3, 1.2)], p=[0.3, 0.7])
    arterial = random.choice([0.0, random.uniform(0.3, 1.0)], p=[0.65, 0.35])
    wash = max(venous, arterial)
    mean = np.zeros(256, np.float32)

    def set_to(structures: tuple[int, ...], value: float, spread: float) -> None:
        mean[list(structures)] = value + random.normal(0, spread)

    fatty = random.choice([0.0, random.uniform(10, 40)], p=[0.75, 0.25])
    set_to((5,), 57 + 60 * venous + 10 * arterial - fatty, 7)
    set_to((1,), 48 + 75 * wash, 8)
    set_to((2, 3), 33 + 150 * wash, 15)
    set_to((23, 24), 10, 6)
    set_to((7,), 40 + 65 * wash, 8)
    set_to((8, 9), 35 + 45 * wash, 10)
    set_to((4,), 10, 8)
    set_to(VESSELS_ARTERIAL, 42 + 105 * venous + 240 * arterial, 10)
    set_to(VESSELS_VENOUS, 42 + 105 * venous + 40 * arterial, 12)
    set_to((64,), 42 + 125 * venous + 40 * arterial, 10)
    set_to((51, 61), 42 + 95 * venous + 150 * arterial, 15)
    return mean


def repainted(body: Body, current: NDArray[np.float64], random: Random) -> Array:
    """The real CT with its organs moved to another contrast phase, texture and all."""
    assert body.hu is not None
    target = phase(random)
    shift = np.zeros(256, np.float32)
    for structure in ENHANCED:
        if np.isfinite(current[structure]):
            shift[structure] = target[structure] - current[structure]
    # Bile ducts and small parts of an organ differ from its mean, and muscle takes up a little contrast.
    shift[list(MUSCLES)] = random.uniform(-5, 15)
    if random.random() < 0.5:
        shift[list(HOLLOW)] = random.uniform(-15, 40)
    return body.hu + shift[body.structures]


def _grain(shape: tuple[int, ...], voxels: float, random: Random) -> Array:
    """Smooth noise of unit standard deviation with a grain of about `voxels`."""
    sides = [max(int(np.ceil(n / voxels)) + 1, 2) for n in shape]
    coarse = random.standard_normal(sides).astype(np.float32)
    for axis, n in enumerate(shape):
        at = np.linspace(0, sides[axis] - 1, n)
        low = np.minimum(at.astype(np.intp), sides[axis] - 2)
        part = (at - low).astype(np.float32).reshape([-1 if axis == a else 1 for a in range(3)])
        coarse = np.take(coarse, low, axis) * (1 - part) + np.take(coarse, low + 1, axis) * part
    return coarse / max(float(coarse.std()), 1e-6)


def _table(random: Random) -> tuple[Array, Array]:
    """Mean HU and strength of the texture of each structure (256)."""
    mean, grain = phase(random), np.full(256, 6.0, np.float32)
    muscle = random.uniform(40, 70)
    mean[list(MUSCLES)] = muscle
    mean[[15, 17, 22, 79]] = (muscle, random.uniform(60, 150), muscle - 5, 35)
    mean[21] = random.choice([random.uniform(-5, 25), random.uniform(100, 300)], p=[0.8, 0.2])
    mean[16] = -980
    mean[list(LUNGS)], grain[list(LUNGS)] = random.uniform(-880, -720), 45
    bone = random.uniform(180, 420)
    for structure in BONES:
        mean[structure], grain[structure] = bone * random.uniform(0.8, 1.2), 110
    mean[117], grain[117] = random.uniform(80, 150), 25
    for structure in HOLLOW:
        mean[structure] = random.choice([random.uniform(0, 60), random.uniform(120, 400)], p=[0.75, 0.25])
        grain[structure] = random.uniform(5, 25)
    grain[20] = random.uniform(10, 60)
    # Randomised tissues, so that shape and place are learnt beside HU (as SynthSeg does).
    if random.random() < 0.2:
        soft = [s for s in range(1, 118) if s not in BONES and s not in LUNGS]
        mean[soft] += random.normal(0, 30, len(soft)).astype(np.float32)
    return mean, grain


def phantom(structures: NDArray[np.uint8], outside: Array, voxel: float, random: Random) -> Array:
    """HU of a body: `structures` [x, y, z] with y towards the front, `outside` in mm from the hull, `voxel` in mm."""
    shape = structures.shape
    mean, strength = _table(random)
    fine, coarse = _grain(shape, 5 / voxel, random), _grain(shape, 24 / voxel, random)
    hu = mean[structures]
    hu += strength[structures] * (0.7 * fine + 0.5 * coarse)
    # Between the structures: fat with strands, and soft tissue where the coarse grain is high.
    fat = random.uniform(-118, -85)
    between = structures == 0
    share = random.uniform(0.9, 2.2)
    filling = np.where(coarse > share, random.uniform(10, 60), fat + 8 * fine)
    wall, skin = random.uniform(3, 14), random.uniform(6, 38)
    filling = np.where(outside > 0, fat + 6 * fine, filling)
    filling = np.where((outside > 0) & (outside < wall), random.uniform(35, 65) + 6 * fine, filling)
    edge = wall + skin + 4 * coarse
    filling = np.where(outside > edge, -1000.0, filling)
    filling = np.where((outside <= edge) & (outside > edge - 3), 0.0, filling)
    hu = np.where(between, filling, hu).astype(np.float32)
    # Gas lies to the front of stomach and bowel.
    gas = random.uniform(0.2, 1.6)
    front = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)[None, :, None]
    hollow = np.isin(structures, (6, 18, 20))
    hu[hollow & (coarse + front > gas)] = -950
    return hu


def as_scanned(hu: Array, voxel: float, random: Random) -> Array:
    """Scale, offset, thickness of slices and noise of some scanner; `voxel` in mm along z."""
    hu = hu * random.uniform(0.93, 1.07) + random.uniform(-15, 15)
    if random.random() < 0.4:
        hu = ndimage.gaussian_filter1d(hu, random.uniform(0.2, 5.0) / voxel / 2, axis=2)
    if random.random() < 0.3:
        hu = ndimage.gaussian_filter(hu, random.uniform(0.2, 0.6))
    noise = random.standard_normal(hu.shape, dtype=np.float32)
    if random.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, 0.5) * 2.5
    return hu + random.uniform(0, 18) * noise
