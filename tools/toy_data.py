"""A small drawn data set that shows what weak supervision is about.

Every creature wears a small tell-tale emblem (one shape, one colour) on a
larger body. The emblem is the easy way to name the creature, so the class
activation maps of a plain classifier light the emblem and miss the body. The
body varies in pose, size, hue and contrast, yet keeps its class's outline
and texture, so that what other images show of the class can complete it; in
a share of the creatures the emblem is out of sight and only the body tells.

The folder has the layout of a Pascal VOC segmentation set; one seed always
gives the same bytes.

Shape shorthand: H, W: image height and width, pixels (about 120 x 160).
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

Array = np.ndarray
Rng = np.random.Generator
Track = Callable[[list[tuple[str, int]]], Iterable[tuple[str, int]]]


# Emblems: (u, v) with the emblem's radius as unit -> > 0 inside.


def _star(u: Array, v: Array) -> Array:
    angle = np.arctan2(v, u)
    return 0.72 + 0.32 * np.cos(5 * angle) - np.hypot(u, v)


def _ring(u: Array, v: Array) -> Array:
    return 0.3 - np.abs(np.hypot(u, v) - 0.68)


def _cross(u: Array, v: Array) -> Array:
    u, v = np.abs(u), np.abs(v)
    return 0.32 - np.maximum(np.minimum(u, v), np.maximum(u, v) - 0.65)


def _moon(u: Array, v: Array) -> Array:
    return np.minimum(1 - np.hypot(u, v), np.hypot(u - 0.5, v) - 0.72)


def _kite(u: Array, v: Array) -> Array:
    return 0.95 - np.abs(u) - 1.5 * np.abs(v)


def _bolt(u: Array, v: Array) -> Array:
    zigzag = 0.55 * (2 * np.abs((1.2 * u) % 1 - 0.5) - 0.5)
    return np.minimum(0.34 - np.abs(v - zigzag), 1 - np.abs(u))


# Bodies: (u, v) with the body's radius as unit -> > 0 inside.


def _cloud(u: Array, v: Array, wobble: float) -> Array:
    angle = np.arctan2(v, u)
    return 0.9 + 0.12 * np.cos(8 * angle + wobble) - np.hypot(u, v)


def _slug(u: Array, v: Array, wobble: float) -> Array:
    bend = 0.2 * np.sin(2 * u + wobble)
    return 0.55 - np.hypot(np.maximum(np.abs(u) - 0.75, 0), v - bend)


def _block(u: Array, v: Array, wobble: float) -> Array:
    skew = 0.2 * np.sin(wobble)
    return 0.9 - ((u + skew * v) ** 4 + v**4) ** 0.25


def _bean(u: Array, v: Array, wobble: float) -> Array:
    dent = 0.45 + 0.1 * np.sin(wobble)
    return 0.72 - np.hypot(0.75 * u, v - dent * u**2 + 0.2)


def _fish(u: Array, v: Array, wobble: float) -> Array:
    trunk = 0.62 - np.hypot(0.8 * (u - 0.25), 1.15 * v)
    spread = 0.75 + 0.15 * np.sin(wobble)
    tail = np.minimum(-spread * (u + 0.3) - np.abs(v), u + 1.15)
    return np.maximum(trunk, tail)


def _worm(u: Array, v: Array, wobble: float) -> Array:
    wave = 0.4 * np.sin(3.2 * u + wobble)
    return np.minimum(0.4 - np.abs(v - wave), 1.25 - np.abs(u))


# Textures: (x, y) with the texture's period as unit -> 0..1.


def _wave(x: Array) -> Array:
    return 0.5 + 0.5 * np.cos(2 * np.pi * x)


def _dots(x: Array, y: Array) -> Array:
    return np.clip(3 * _wave(x) * _wave(y), 0, 1)


def _stripes(x: Array, y: Array) -> Array:
    return _wave(x)


def _checker(x: Array, y: Array) -> Array:
    return np.clip(0.5 + 3 * np.cos(np.pi * x) * np.cos(np.pi * y), 0, 1)


def _circles(x: Array, y: Array) -> Array:
    return _wave(np.hypot(x, y))


def _scales(x: Array, y: Array) -> Array:
    column = (x + 0.5 * (np.floor(y) % 2)) % 1 - 0.5
    return np.clip(1.4 * np.hypot(column, y % 1), 0, 1)


def _zigzag(x: Array, y: Array) -> Array:
    return _wave(y + np.abs(0.5 * x % 1 - 0.5) * 2)


class Creature(NamedTuple):
    """How one class looks."""

    name: str
    emblem: Callable[[Array, Array], Array]
    emblem_colour: tuple[int, int, int]  # RGB, 0..255
    body: Callable[[Array, Array, float], Array]
    texture: Callable[[Array, Array], Array]
    hue: float  # middle of the body's hues, 0..1


CREATURES = (
    Creature('starpuff', _star, (255, 225, 30), _cloud, _dots, 0.60),
    Creature('ringslug', _ring, (250, 60, 200), _slug, _stripes, 0.27),
    Creature('crossbug', _cross, (240, 30, 40), _block, _checker, 0.45),
    Creature('moonbean', _moon, (60, 240, 250), _bean, _circles, 0.95),
    Creature('kitefish', _kite, (255, 130, 10), _fish, _scales, 0.77),
    Creature('boltworm', _bolt, (120, 255, 60), _worm, _zigzag, 0.10),
)
CLASSES = tuple(creature.name for creature in CREATURES)
"""Foreground class names; class number c has mask value c + 1."""
PALETTE = ((0, 0, 0), *(creature.emblem_colour for creature in CREATURES))
"""RGB of the mask values: the background, then one colour a class."""

SIZES = ((120, 160), (120, 160), (120, 160), (160, 120), (128, 144))
SPLITS = ('train', 'val')
NOTE = 'toy.json'  # the settings a finished folder was made with
VERSION = 1  # of the drawing: another number, other bytes


class Scene(NamedTuple):
    """One drawn image and its truth."""

    image: Array  # uint8 [H, W, 3], RGB
    mask: Array  # uint8 [H, W]: 0 background, c + 1 class c
    emblem: Array  # bool [H, W]: the visible emblems, a part of the mask
    labels: list[int]  # sorted 0-based class numbers in the image


def _rgb(hue: float, saturation: float, value: float) -> Array:
    """HSV, each 0..1 (hue wraps) -> float32 [3], 0..255."""
    ramp = np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    mix = 1 - saturation * (1 - np.clip(ramp, 0, 1))
    return (255 * value * mix).astype(np.float32)


def _noise(rng: Rng, height: int, width: int, cell: int) -> Array:
    """Smooth noise, about 0..1, with features of about `cell` pixels."""
    coarse = rng.random((height // cell + 2, width // cell + 2))
    return cv2.resize(
        coarse.astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )


def _local(canvas: Array, centre: Array, angle: float) -> tuple[Array, Array]:
    """Pixel coordinates around a centre (x, y), turned by an angle."""
    y, x = np.indices(canvas.shape[:2], dtype=np.float32)
    x, y = x - centre[0], y - centre[1]
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


def _window(canvas: Array, centre: Array, reach: float) -> tuple[Array, Array]:
    """The view of a canvas around a centre, and the centre in that view."""
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.maximum(np.ceil(centre + reach), 1).astype(int)
    return canvas[low[1] : high[1], low[0] : high[0]], centre - low


def _paint(canvas: Array, inside: Array, colour: Array) -> Array:
    """Blend a colour in where `inside` (pixels from the edge) is > 0."""
    alpha = np.clip(inside + 0.5, 0, 1)[..., None]
    canvas += alpha * (colour - canvas)
    return inside > 0


def _skin(rng: Rng, hue: float, pattern: Array) -> Array:
    """Colour a 0..1 pattern with two shades of about one hue."""
    saturation, value = rng.uniform(0.3, 0.65), rng.uniform(0.3, 0.6)
    dark = _rgb(hue, saturation, value)
    light = _rgb(
        hue + rng.normal(0, 0.03),
        saturation * rng.uniform(0.5, 1),
        value + rng.uniform(0.15, 0.4),
    )
    return dark + pattern[..., None] * (light - dark)


def _backdrop(rng: Rng, height: int, width: int) -> Array:
    """Two textured grounds that flow into one another."""
    blank = np.zeros((height, width))
    grounds = []
    for _ in range(2):
        x, y = _local(blank, rng.uniform(0, 120, 2), rng.uniform(0, 6.3))
        period = rng.uniform(10, 24)
        pattern = _wave(x / period) * _wave(y / period / rng.uniform(1, 4))
        pattern = 0.4 * pattern + 0.6 * _noise(rng, height, width, 6)
        grounds.append(_skin(rng, rng.random(), pattern))
    share = np.clip(4 * _noise(rng, height, width, 48) - 1.5, 0, 1)[..., None]
    return (grounds[0] + share * (grounds[1] - grounds[0])).astype(np.float32)


def _clutter(rng: Rng, canvas: Array) -> None:
    """Scatter boxes, ovals and bright stickers that belong to no class."""
    height, width = canvas.shape[:2]
    for bright in [False] * rng.integers(4, 9) + [True] * rng.integers(1, 5):
        size = rng.uniform(3, 6) if bright else rng.uniform(6, 18)
        centre = rng.uniform(0, (width, height))
        patch, centre = _window(canvas, centre, 1.7 * size + 1)
        x, y = _local(patch, centre, rng.uniform(0, 6.3))
        power = rng.choice([2, 6])
        oval = (
            np.abs(x / rng.uniform(0.8, 1.6)) ** power + np.abs(y) ** power
        ) ** (1 / power)
        period = rng.uniform(4, 9)
        pattern = CREATURES[rng.integers(len(CREATURES))].texture(
            x / period, y / period
        ) * rng.uniform(0, 0.8)
        colour = (
            _rgb(rng.random(), 0.55, 0.8)
            if bright
            else _skin(rng, rng.random(), pattern)
        )
        _paint(patch, size - oval, colour)


def _emblem(
    rng: Rng,
    canvas: Array,
    kind: Creature,
    where: tuple[Array, Array],
    outline: Array,
) -> Array:
    """Draw the emblem on a body, if it is in sight; return its pixels."""
    shown = rng.random() > 0.1
    size = rng.uniform(8, 10.5)
    seat = np.array([rng.uniform(0.45, 0.75), rng.uniform(-0.15, 0.15)])
    turn = rng.uniform(-0.4, 0.4)
    if not shown:
        return np.zeros_like(outline, bool)
    # The seat may be off the body or the image: take the nearest spot that
    # is neither.
    distance = np.hypot(where[0] - seat[0], where[1] - seat[1])
    outside = np.maximum(0.2 - outline, 0)
    spot = np.unravel_index(np.argmin(distance + 5 * outside), outline.shape)
    u, v = _local(canvas, np.array(spot[::-1]), turn)
    inside = kind.emblem(u / size, v / size) * size
    _paint(canvas, inside + 1.5, np.float32([20, 20, 30]))
    _paint(canvas, inside, np.float32(kind.emblem_colour))
    return inside > -1.5


def _creature(
    rng: Rng, canvas: Array, kind: Creature, centre: Array
) -> tuple[Array, Array]:
    """Draw one creature; return its body's and its emblem's pixels."""
    radius = rng.uniform(22, 36)
    x, y = _local(canvas, centre, rng.uniform(0, 6.3))
    squeeze = rng.uniform(0.85, 1.15)
    u, v = x / radius * squeeze, y / radius / squeeze
    period = rng.uniform(6, 10)
    pattern = kind.texture(x / period, y / period) * rng.uniform(0.6, 1)
    pattern = pattern + 0.35 * (_noise(rng, *canvas.shape[:2], 8) - 0.5)
    skin = _skin(rng, rng.normal(kind.hue, 0.07), pattern)
    outline = kind.body(u, v, rng.uniform(0, 6.3))
    body = _paint(canvas, outline * radius, skin)
    return body, _emblem(rng, canvas, kind, (u, v), outline)


def _cast(rng: Rng) -> list[int]:
    """Draw the classes of a scene; neighbours 2k, 2k + 1 are friends."""
    cast = [int(rng.integers(len(CREATURES)))]
    for _ in range(rng.choice(3, p=[0.35, 0.45, 0.2])):
        friend = cast[-1] ^ 1
        other = int(rng.integers(len(CREATURES)))
        cast.append(friend if rng.random() < 0.3 else other)
    if rng.random() < 0.2:
        cast.append(cast[0])
    return cast


def _place(rng: Rng, placed: list[Array], height: int, width: int) -> Array:
    """The roomiest (x, y) of a few random ones, so overlap stays partial."""
    spots = rng.uniform((16, 16), (width - 16, height - 16), (6, 2))
    if not placed:
        return spots[0]
    gaps = np.linalg.norm(spots[:, None] - np.array(placed), axis=-1)
    return spots[gaps.min(axis=1).argmax()]


def draw_scene(rng: Rng) -> Scene:
    """Draw one image with its mask, emblem pixels and labels.

    Args:
        rng: Source of every choice; the same state draws the same scene.

    Returns:
        The scene; every listed label has some visible pixels.
    """
    height, width = SIZES[rng.integers(len(SIZES))]
    canvas = _backdrop(rng, height, width)
    _clutter(rng, canvas)
    mask = np.zeros((height, width), np.uint8)
    emblems = np.zeros((height, width), bool)
    placed: list[Array] = []
    for label in _cast(rng):
        placed.append(_place(rng, placed, height, width))
        body, emblem = _creature(rng, canvas, CREATURES[label], placed[-1])
        mask[body | emblem] = label + 1
        emblems = (emblems & ~body) | emblem
    canvas += rng.normal(0, 5, canvas.shape)
    labels = [int(value) - 1 for value in np.unique(mask) if value]
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    return Scene(image, mask, emblems, labels)


def make_scene(split: str, index: int, seed: int = 0) -> Scene:
    """Draw the scene that a split of the data set holds at an index.

    Args:
        split: 'train' or 'val'.
        index: Number of the image in the split, >= 0.
        seed: Seed of the data set, >= 0.
    """
    number = SPLITS.index(split)
    return draw_scene(np.random.default_rng([seed, number, index]))


def _save(folder: Path, name: str, scene: Scene) -> None:
    image = Image.fromarray(scene.image)
    image.save(folder / 'JPEGImages' / f'{name}.jpg', quality=90)
    mask = Image.fromarray(scene.mask)
    mask.putpalette(np.array(PALETTE, np.uint8).tobytes())
    mask.save(folder / 'SegmentationClass' / f'{name}.png')


def _fill(folder: Path, settings: dict[str, int], track: Track) -> None:
    for part in (
        'JPEGImages',
        'SegmentationClass',
        'labels',
        'ImageSets/Segmentation',
    ):
        (folder / part).mkdir(parents=True)
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    labels: dict[str, list[str]] = {split: [] for split in SPLITS}
    tasks = [(split, i) for split in SPLITS for i in range(settings[split])]
    for split, index in track(tasks):
        scene = make_scene(split, index, settings['seed'])
        name = f'{split}_{index:04d}'
        _save(folder, name, scene)
        names[split].append(name)
        labels[split].append(' '.join(map(str, (name, *scene.labels))))
    for split in SPLITS:
        _write(folder / f'ImageSets/Segmentation/{split}.txt', names[split])
        _write(folder / f'labels/{split}_cls.txt', labels[split])
    _write(folder / 'labels/classes.txt', CLASSES)
    _write(folder / NOTE, [json.dumps(settings)])


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text(''.join(f'{line}\n' for line in lines))


def _is_made(root: Path, settings: dict[str, int]) -> bool:
    """Whether root holds this data set; raise if it holds anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    note = root / NOTE
    if note.is_file() and note.read_text() == json.dumps(settings) + '\n':
        images = settings['train'] + settings['val']
        found = [len(list(root.glob(p))) for p in ('*/*.jpg', '*/*.png')]
        if found == [images, images]:
            return True
    raise FileExistsError(
        f'{root} already holds something other than the complete toy data '
        f'for {settings}: name another folder or remove this one'
    )


def make_dataset(
    root: str | Path,
    seed: int = 0,
    train: int = 400,
    val: int = 100,
    track: Track = iter,
) -> bool:
    """Write the toy data set, all of it or nothing.

    Args:
        root: Folder to make, in the layout of Pascal VOC with `labels/`
            lists of image-level classes beside it.
        seed: Seed of the data set, >= 0.
        train: Number of training images, >= 1.
        val: Number of validation images, >= 1.
        track: Wraps the list of images to draw, to show the progress.

    Returns:
        True if it was written, False if root held the same data already.

    Raises:
        ValueError: If a number is out of range.
        FileExistsError: If root holds anything else.
    """
    if seed < 0 or train < 1 or val < 1:
        raise ValueError(
            f'seed must be >= 0, train and val >= 1, got seed={seed}, '
            f'train={train}, val={val}'
        )
    root = Path(root)
    settings = dict(version=VERSION, seed=seed, train=train, val=val)
    if _is_made(root, settings):
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    sibling = Path(tempfile.mkdtemp(prefix=f'.{root.name}.', dir=root.parent))
    try:
        sibling.chmod(0o755)
        _fill(sibling, settings, track)
        sibling.replace(root)
    finally:
        shutil.rmtree(sibling, ignore_errors=True)
    return True
