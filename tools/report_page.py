"""The report's page: charts, pictures as text, and the template around."""

import base64
import datetime
import io
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure
from PIL import Image

from mmrca import __version__
from mmrca.atomic_write import atomic_write
from mmrca.folder_lock import remove_parts

Line = Sequence[tuple[float, float]]


def write_page(path: Path, parts: Sequence[dict]) -> None:
    """Fill the template and write the file.

    Args:
        path: The HTML file.
        parts: From :mod:`report_parts`.
    """
    # Autoescape: names of files and classes are text, whatever they hold.
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
    )
    text = pages.get_template('report.html').render(
        title='Report: ' + ', '.join(part['title'] for part in parts),
        made=f'{datetime.datetime.now():%Y-%m-%d %H:%M}',
        version=__version__,
        parts=parts,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_parts(path.parent, f'.{escape(path.name)}.*.part')
    with atomic_write(path) as part:
        # A file name may hold bytes that are no text.
        part.write_text(text, encoding='utf-8', errors='backslashreplace')


def data_uri(content: bytes, kind: str) -> str:
    """Put a file into a link."""
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'


def picture_uri(picture: np.ndarray) -> str:
    """Put a picture, uint8 [H, W, 3] RGB, into a link."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, 'JPEG', quality=80)
    return data_uri(file.getvalue(), 'jpeg')


def chart_uri(
    lines: Mapping[str, Line], across: str, log: bool = False
) -> str:
    """Draw lines.

    Args:
        lines: Points (x, y) by the line's name.
        across: What x is.
        log: Whether y is on a logarithmic scale.
    """
    figure = Figure(figsize=(5.4, 3), dpi=100, layout='constrained')
    axes = figure.subplots()
    for name, points in lines.items():
        mark = 'o' if len(points) < 30 else None
        axes.plot(*zip(*points, strict=True), label=name, marker=mark, ms=3)
    if log:
        axes.set_yscale('log')
    axes.set_xlabel(across)
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small')
    file = io.BytesIO()
    figure.savefig(file, format='png')
    return data_uri(file.getvalue(), 'png')
