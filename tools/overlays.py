"""Labels over their photographs, to look at without a report.

Shape shorthand: H x W pixels.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import mmcv
import numpy as np
from matplotlib.font_manager import findfont, fontManager, get_font
from PIL import Image, ImageDraw, ImageFont

from mmrca.atomic_write import atomic_write
from mmrca.datasets.images import ImageError, load_image
from mmrca.datasets.masks import read_class_map
from mmrca.ops import IGNORE_INDEX
from mmrca.pictures import paint
from mmrca.progress import progress
from mmrca.pseudo_labels.pipeline import in_threads
from mmrca.pseudo_labels.review import Row

_SIDE = 640  # of a photo that is not shrunk
_LINE = 20  # height of a line of the legend
_SHEET = 8, 12  # thumbnails across and down
_THUMBNAIL = 160


def draw_overlays(
    folder: Path,
    labels: Path,
    rows: Sequence[Row],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    workers: int,
) -> Path | None:
    """Draw a picture for each label, and a sheet of the most doubtful ones.

    A picture that is younger than its label is kept.

    Args:
        folder: Gets ``ID.jpg``; the sheet is ``FOLDER_sheet.jpg``.
        labels: Folder of ``ID.png``.
        rows: Of the review, in its order.
        classes: The data set's, ``'background'`` first.
        palette: Their colours.
        workers: Threads.

    Returns:
        The sheet's file, None without a label.
    """

    def draw(row: Row) -> None:
        label, file = labels / f'{row["image"]}.png', _file(folder, row)
        newest = label.stat().st_mtime
        if not file.exists() or file.stat().st_mtime < newest:
            file.parent.mkdir(parents=True, exist_ok=True)
            _save(file, overlay(row, label, classes, palette))

    done = in_threads(draw, ((row,) for row in rows), workers)
    for _ in progress(done, 'overlays', len(rows)):
        pass
    return contact_sheet(folder, rows) if rows else None


def _file(folder: Path, row: Row) -> Path:
    return folder / f'{row["image"]}.jpg'


def _save(file: Path, picture: Image.Image) -> None:
    with atomic_write(file) as part:
        picture.save(part, 'JPEG', quality=88)


def overlay(
    row: Row,
    label: Path,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> Image.Image:
    """Draw photo and label side by side, with a legend below.

    Args:
        row: Of the review.
        label: The label's file.
        classes: The data set's, ``'background'`` first.
        palette: Their colours.
    """
    values = read_class_map(label, 'label')
    try:
        photo = load_image(row['photo'], _SIDE)
    except ImageError:
        photo = np.full((*values.shape, 3), 128, np.uint8)
    small = mmcv.imresize(values, photo.shape[1::-1], interpolation='nearest')
    painted = paint(photo, small, palette)
    pictures = np.hstack([photo[..., ::-1], painted])
    counts = np.bincount(values.ravel(), minlength=IGNORE_INDEX + 1)
    shares = counts / values.size
    lines = [
        (palette[n], f'{classes[n]} {shares[n]:.1%}')
        for n in range(1, len(classes))
        if counts[n]
    ]
    if counts[IGNORE_INDEX]:
        lines.append(((255,) * 3, f'unlabelled {shares[IGNORE_INDEX]:.1%}'))
    lines.append((None, f'tags: {row["tags"] or "none"}'))
    if row['why']:
        lines.append((None, row['why']))
    height, width = pictures.shape[:2]
    canvas = Image.new('RGB', (width, height + _LINE * len(lines)), 'white')
    canvas.paste(Image.fromarray(pictures))
    pen = ImageDraw.Draw(canvas)
    for number, (colour, text) in enumerate(lines):
        top = height + _LINE * number
        if colour is not None:
            box = (4, top + 4, 16, top + 16)
            pen.rectangle(box, tuple(colour), 'black')
        pen.text((22, top + 2), text, 'black', font_of(text))
    return canvas


@lru_cache(maxsize=1024)
def font_of(text: str) -> ImageFont.FreeTypeFont:
    """Find a font that has all characters of a text, else the usual one."""
    usual = findfont('DejaVu Sans')
    fonts = [usual, *sorted({font.fname for font in fontManager.ttflist})]
    for file in fonts:
        font = get_font(file)
        if all(font.get_char_index(ord(letter)) for letter in text):
            return ImageFont.truetype(file, 13)
    return ImageFont.truetype(usual, 13)


def contact_sheet(folder: Path, rows: Sequence[Row]) -> Path:
    """Put the first overlays on one sheet, the most doubtful first.

    Args:
        folder: Of the overlays.
        rows: Of the review, in its order.

    Returns:
        The sheet's file.
    """
    across, down = _SHEET
    shown = rows[: across * down]
    height = _THUMBNAIL + _LINE
    lines = -(-len(shown) // across)
    sheet = Image.new(
        'RGB', (across * 2 * _THUMBNAIL, lines * height), 'white'
    )
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(shown):
        x, y = number % across * 2 * _THUMBNAIL, number // across * height
        with Image.open(_file(folder, row)) as picture:
            picture.thumbnail((2 * _THUMBNAIL - 6, _THUMBNAIL - 4))
            sheet.paste(picture, (x, y + _LINE))
        text = f'{row["rank"]:.0f}. {row["image"]}'
        pen.text((x + 2, y + 2), text[:40], 'black', font_of(text[:40]))
    path = folder.with_name(f'{folder.name}_sheet.jpg')
    _save(path, sheet)
    return path
