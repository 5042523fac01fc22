"""Take labels along to another tool.

    python tools/export_labels.py LABEL_DIR --format coco

Writes a folder of label PNGs as COCO, Ultralytics YOLO, PASCAL VOC, Label
Studio or CVAT. The label's every pixel is kept, unless --min-area leaves small
regions out; 255 (ignored) is never an object, and an image without any is one
without objects.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrca.checks import first_few
from mmrca.cli import existing_folder, run
from mmrca.datasets.images import find_images
from mmrca.datasets.label_list import read_classes
from mmrca.progress import progress
from mmrca.pseudo_labels.manifest import NAME, read_manifest

if TYPE_CHECKING:
    from label_formats import Item

FORMATS = ('coco', 'yolo', 'voc', 'labelstudio', 'cvat')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        description='Write label PNGs in the format of another tool.',
    )
    parser.add_argument('labels', metavar='LABEL_DIR', help='folder of PNGs')
    parser.add_argument('--format', choices=FORMATS, required=True)
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='a new folder [LABEL_DIR_FORMAT, beside LABEL_DIR]',
    )
    parser.add_argument(
        '--images',
        metavar='DIR',
        help=f'folder of the images [that of LABEL_DIR/{NAME}]',
    )
    parser.add_argument(
        '--classes',
        metavar='FILE',
        help='names of the classes without the background, one a line '
        f'[those of LABEL_DIR/{NAME}]',
    )
    parser.add_argument(
        '--min-area',
        type=int,
        default=0,
        metavar='PIXELS',
        help='leave regions of fewer pixels out; they become 255 (ignored) '
        '[0: keep all]',
    )
    args = parser.parse_args(argv)
    if args.min_area < 0:
        parser.error('--min-area must be 0 or more')
    return args


def find_labels(folder: Path) -> list[str]:
    """List the IDs of a folder's labels, sorted.

    Raises:
        FileNotFoundError: It holds no PNG.
    """
    files = (path.relative_to(folder) for path in folder.rglob('*.png'))
    ids = [
        path.as_posix().removesuffix('.png')
        for path in files
        if not any(part.startswith('.') for part in path.parts)
    ]
    if not ids:
        raise FileNotFoundError(f'{folder} holds no label PNG')
    return sorted(ids)


def find_files(images: Path, ids: Sequence[str], labels: Path) -> list[str]:
    """Find the image of each label.

    Raises:
        FileNotFoundError: One is missing.
    """
    found, missing = find_images(images, ids)
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(ids)} labels in {labels} have no '
            f'image in {images}, such as '
            f'{first_few([f"{n} ({why})" for n, why in missing.items()])}; '
            'name the folder of the images by --images'
        )
    return [found[name] for name in ids]


def read_items(labels: Path, images: Path, num_classes: int) -> Iterator[Item]:
    """Read the labels one by one.

    Raises:
        ImageError: One is no label map, or not of its image's size.
        FileNotFoundError: An image is missing.
    """
    from label_formats import Item

    from mmrca.datasets.images import image_size
    from mmrca.datasets.masks import check_size, read_class_map

    ids = find_labels(labels)
    files = find_files(images, ids, labels)
    pairs = list(zip(ids, files, strict=True))
    for img_id, file in progress(pairs, 'labels'):
        path = labels / f'{img_id}.png'
        values = read_class_map(path, 'label', num_classes)
        check_size('label', path, values.shape, image_size(images / file))
        yield Item(img_id, file, values)


def leave_specks_out(
    items: Iterator[Item], min_area: int, counts: Counter[str]
) -> Iterator[Item]:
    """Yield the items without regions of under ``min_area`` pixels.

    Args:
        items: Images and their labels.
        min_area: 0 keeps all.
        counts: ``'kept'`` and ``'left out'`` regions are added.
    """
    from label_formats import without_specks

    for item in items:
        labels, kept, left_out = without_specks(item.labels, min_area)
        counts.update({'kept': kept, 'left out': left_out})
        yield item._replace(labels=labels)


def read_palette(path: Path, num_classes: int) -> list[list[int]]:
    """Read a label's colours; PASCAL VOC's if it has none."""
    from mmrca.datasets.images import open_picture
    from mmrca.pseudo_labels.writer import voc_palette

    flat = open_picture(path, 'label').getpalette() or []
    colours = [flat[i : i + 3] for i in range(0, 3 * num_classes, 3)]
    whole = len(flat) >= 3 * num_classes
    return colours if whole else voc_palette(num_classes)


def settle(args: argparse.Namespace) -> tuple[Path, list[str]]:
    """Look up the images' folder and the classes with the background.

    Raises:
        ValueError: The manifest does not say one, nor the command line.
    """
    manifest = read_manifest(Path(args.labels))
    images = args.images or manifest.get('image_folder')
    classes = manifest.get('recipe', {}).get('classes')
    if args.classes:
        classes = ['background', *read_classes(args.classes)]
    for value, option in ((images, '--images'), (classes, '--classes')):
        if not value:
            raise ValueError(
                f'{args.labels} has no {NAME} that says what its labels are '
                f'of; give {option}'
            )
    return Path(existing_folder(images, 'folder of the images')), classes


def main(argv: Sequence[str] | None = None) -> None:
    """Export."""
    args = parse_args(argv)
    labels = Path(existing_folder(args.labels, 'folder of labels'))
    images, classes = settle(args)
    out = Path(args.out or f'{labels.absolute()}_{args.format}')
    if out.exists():
        raise ValueError(f'{out} exists; remove it, or name another by --out')
    first = labels / f'{find_labels(labels)[0]}.png'
    from label_formats import FORMATS as WRITERS
    from label_formats import Target

    palette = read_palette(first, len(classes))
    counts: Counter[str] = Counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not there, as a half of it would pass for all.
    part = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        items = read_items(labels, images, len(classes))
        items = leave_specks_out(items, args.min_area, counts)
        WRITERS[args.format](items, Target(part, images, classes, palette))
        part.chmod(0o755)  # mkdtemp's is the user's alone
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    said = f'wrote {out}: {counts["kept"]} regions'
    if args.min_area:
        said += (
            f'; left out {counts["left out"]} of under {args.min_area} pixels'
        )
    print(said)


if __name__ == '__main__':
    run(main)
