"""Label maps in the formats of other tools, exact to the pixel.

A region is a connected part of one class (by edges or corners). The value 255
(ignored) and the background are no region.

Shape shorthand: H x W pixels, R regions, V vertices.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree

import cv2
import numpy as np
import yaml
from scipy.spatial import cKDTree

from mmrca.ops import IGNORE_INDEX
from mmrca.pseudo_labels.writer import write_label

_RUN = 1 << 16  # the longest of Label Studio's


class Item(NamedTuple):
    """An image and its label.

    Attributes:
        img_id: Its path inside the image folder, without suffix.
        file: Its path inside the image folder.
        labels: uint8 [H, W].
    """

    img_id: str
    file: str
    labels: np.ndarray


class Target(NamedTuple):
    """Where to write, and what all labels share.

    Attributes:
        out: A new folder.
        images: Folder of the images.
        classes: Their names, the background first.
        palette: An RGB colour in 0..255 for each.
    """

    out: Path
    images: Path
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]

    def colour(self, value: int) -> str:
        """Give a class's colour as ``#rrggbb``."""
        return '#{:02x}{:02x}{:02x}'.format(*self.palette[value])


class Region(NamedTuple):
    """A connected part of one class.

    Attributes:
        value: Of its pixels, 1 or more.
        left: Its first column.
        top: Its first row.
        mask: Boolean [h, w], its pixels in its bounding box.
    """

    value: int
    left: int
    top: int
    mask: np.ndarray


def regions(labels: np.ndarray) -> Iterator[Region]:
    """Yield the regions of a label map, class by class.

    Args:
        labels: uint8 [H, W].
    """
    for value in np.unique(labels).tolist():
        if value in (0, IGNORE_INDEX):
            continue
        found = (labels == value).astype(np.uint8)
        count, marks, stats, _ = cv2.connectedComponentsWithStats(found)
        for number in range(1, count):
            left, top, width, height, _ = stats[number].tolist()
            box = marks[top : top + height, left : left + width]
            yield Region(value, left, top, box == number)


def without_specks(
    labels: np.ndarray, min_area: int
) -> tuple[np.ndarray, int, int]:
    """Make regions of few pixels 255 (ignored).

    Args:
        labels: uint8 [H, W].
        min_area: Pixels of a region that stays, at least.

    Returns:
        uint8 [H, W], how many regions stay, and how many do not.
    """
    found = list(regions(labels))
    specks = [region for region in found if region.mask.sum() < min_area]
    labels = labels.copy()
    for region in specks:
        h, w = region.mask.shape
        rows = slice(region.top, region.top + h)
        columns = slice(region.left, region.left + w)
        labels[rows, columns][region.mask] = IGNORE_INDEX
    return labels, len(found) - len(specks), len(specks)


def polygon(region: Region, centres: bool = False) -> np.ndarray:
    """Draw the outline of a region as one polygon.

    Holes are joined to the outline by a line there and back.

    Args:
        region: The region.
        centres: Whether the vertices are the outermost pixels, for readers
            that fill a polygon with its border, and not these pixels' outer
            corners.

    Returns:
        Integers [V, 2], x and y.
    """
    # OpenCV outlines pixels. At twice the size it tells left from right.
    doubled = np.kron(region.mask.astype(np.uint8), np.ones((2, 2), np.uint8))
    rings, _ = cv2.findContours(
        doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    # The outline begins left of the holes.
    outline, *holes = sorted(
        (ring[:, 0] for ring in rings), key=lambda r: r[:, 0].min()
    )
    for hole in holes:
        gaps, nearest = cKDTree(outline).query(hole)
        j = int(gaps.argmin())
        i = int(nearest[j])
        way = (outline[: i + 1], hole[j:], hole[: j + 1], outline[i:])
        outline = np.concatenate(way)
    vertices = (outline + (not centres)) // 2
    return vertices + np.array([region.left, region.top])


def runs(values: np.ndarray) -> list[int]:
    """Count the runs of a boolean array, that of False first.

    Args:
        values: One axis.
    """
    ends = np.flatnonzero(np.diff(values)) + 1
    counts = np.diff([0, *ends, len(values)]).tolist()
    return [0, *counts] if len(values) and values[0] else counts


def write_coco(items: Iterable[Item], target: Target) -> None:
    """Write ``instances.json``: a polygon a region, in corners of pixels."""
    names = enumerate(target.classes)
    content: dict[str, list] = {
        'images': [],
        'annotations': [],
        'categories': [
            {'id': v, 'name': name, 'color': list(target.palette[v])}
            for v, name in names
            if v
        ],
    }
    for number, item in enumerate(items, 1):
        height, width = item.labels.shape
        content['images'].append(
            {
                'id': number,
                'file_name': item.file,
                'height': height,
                'width': width,
            }
        )
        for region in regions(item.labels):
            h, w = region.mask.shape
            content['annotations'].append(
                {
                    'id': len(content['annotations']) + 1,
                    'image_id': number,
                    'category_id': region.value,
                    'segmentation': [polygon(region).ravel().tolist()],
                    'area': int(region.mask.sum()),
                    'bbox': [region.left, region.top, w, h],
                    'iscrowd': 0,
                }
            )
    (target.out / 'instances.json').write_text(json.dumps(content))


def write_yolo(items: Iterable[Item], target: Target) -> None:
    """Write Ultralytics' segmentation format, with links to the images.

    Its reader fills polygons with their borders, so the vertices are pixels.
    """
    for item in items:
        _link(target, item.file, 'images/train')
        height, width = item.labels.shape
        lines = []
        for region in regions(item.labels):
            vertices = (polygon(region, centres=True) + 0.5) / [width, height]
            words = (f'{value:.6f}' for value in vertices.ravel())
            lines.append(' '.join([str(region.value - 1), *words]) + '\n')
        path = _place(target.out / 'labels/train', f'{item.img_id}.txt')
        path.write_text(''.join(lines))
    numbered = enumerate(target.classes[1:])
    content = {
        'train': 'images/train',
        # Ultralytics wants one; pseudo-labels are no truth to measure with.
        'val': 'images/train',
        'names': dict(numbered),
        'colors': {
            v - 1: target.colour(v) for v in range(1, len(target.classes))
        },
    }
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    (target.out / 'data.yaml').write_text(text, encoding='utf-8')


def write_voc(items: Iterable[Item], target: Target) -> None:
    """Write PASCAL VOC's folders, and CVAT's ``labelmap.txt`` beside them.

    The label maps are the same, 255 (ignored) among them.
    """
    names = []
    for item in items:
        names.append(f'{item.img_id}\n')
        _link(target, item.file, 'JPEGImages')
        folder = target.out / 'SegmentationClass'
        path = _place(folder, f'{item.img_id}.png')
        write_label(path, item.labels, target.palette)
        path = _place(target.out / 'Annotations', f'{item.img_id}.xml')
        ElementTree.ElementTree(_voc_boxes(item, target)).write(path, 'utf-8')
    path = _place(target.out / 'ImageSets/Segmentation', 'train.txt')
    path.write_text(''.join(names), encoding='utf-8')
    colours = (','.join(map(str, colour)) for colour in target.palette)
    lines = [
        f'{name}:{colour}::\n'
        for name, colour in zip(target.classes, colours, strict=False)
    ]
    text = ''.join(['# label:color_rgb:parts:actions\n', *lines])
    (target.out / 'labelmap.txt').write_text(text, encoding='utf-8')


def _voc_boxes(item: Item, target: Target) -> ElementTree.Element:
    height, width = item.labels.shape
    root = ElementTree.Element('annotation')
    _child(root, 'filename', item.file)
    _child(root, 'segmented', 1)
    size = ElementTree.SubElement(root, 'size')
    for name, value in (('width', width), ('height', height), ('depth', 3)):
        _child(size, name, value)
    for region in regions(item.labels):
        h, w = region.mask.shape
        shown = ElementTree.SubElement(root, 'object')
        _child(shown, 'name', target.classes[region.value])
        box = ElementTree.SubElement(shown, 'bndbox')
        # VOC counts pixels from 1.
        _child(box, 'xmin', region.left + 1)
        _child(box, 'ymin', region.top + 1)
        _child(box, 'xmax', region.left + w)
        _child(box, 'ymax', region.top + h)
    return root


def write_labelstudio(items: Iterable[Item], target: Target) -> None:
    """Write tasks with brush predictions, and the labeling interface."""
    tasks = []
    for item in items:
        height, width = item.labels.shape
        results = []
        for number, region in enumerate(regions(item.labels), 1):
            mask = np.zeros((height, width), dtype=bool)
            h, w = region.mask.shape
            mask[
                region.top : region.top + h, region.left : region.left + w
            ] = region.mask
            value = {
                'format': 'rle',
                'rle': brush_rle(mask),
                'brushlabels': [target.classes[region.value]],
            }
            results.append(
                {
                    'id': str(number),
                    'type': 'brushlabels',
                    'from_name': 'label',
                    'to_name': 'image',
                    'original_width': width,
                    'original_height': height,
                    'image_rotation': 0,
                    'value': value,
                }
            )
        where = quote(f'{target.images.absolute().name}/{item.file}')
        tasks.append(
            {
                'data': {'image': f'/data/local-files/?d={where}'},
                'predictions': [{'model_version': 'mmrca', 'result': results}],
            }
        )
    (target.out / 'tasks.json').write_text(json.dumps(tasks))
    view = ElementTree.Element('View')
    ElementTree.SubElement(view, 'Image', name='image', value='$image')
    brush = ElementTree.SubElement(
        view, 'BrushLabels', name='label', toName='image'
    )
    for value, name in enumerate(target.classes[1:], 1):
        ElementTree.SubElement(
            brush, 'Label', value=name, background=target.colour(value)
        )
    path = target.out / 'interface.xml'
    ElementTree.ElementTree(view).write(path, 'utf-8')


def brush_rle(mask: np.ndarray) -> list[int]:
    """Pack a mask as Label Studio's brush does.

    The mask is an RGBA image, row by row, whose four values a pixel are 255
    or 0. A head of 32 + 5 + 4 * 4 bits says how many values there are, of how
    many bits, and how many bits the four kinds of lengths have, less 1. Each
    run has a bit 1, 2 bits for the kind, its length less 1, and its value.

    Args:
        mask: Boolean [H, W].

    Returns:
        Bytes.
    """
    head = f'{4 * mask.size:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}'
    parts = [head]
    for number, count in enumerate(runs(mask.ravel())):
        left = 4 * count
        value = 255 * (number % 2)
        while left:
            length = min(left, _RUN)
            parts.append(f'111{length - 1:016b}{value:08b}')
            left -= length
    bits = np.frombuffer(''.join(parts).encode(), np.uint8) - ord('0')
    return np.packbits(bits).tolist()


def write_cvat(items: Iterable[Item], target: Target) -> None:
    """Write 'CVAT for images 1.1' with masks, and the labels of a task."""
    root = ElementTree.Element('annotations')
    _child(root, 'version', 1.1)
    task = ElementTree.SubElement(ElementTree.SubElement(root, 'meta'), 'task')
    labels = ElementTree.SubElement(task, 'labels')
    for value, name in enumerate(target.classes[1:], 1):
        label = ElementTree.SubElement(labels, 'label')
        _child(label, 'name', name)
        _child(label, 'color', target.colour(value))
        ElementTree.SubElement(label, 'attributes')
    for number, item in enumerate(items):
        height, width = map(str, item.labels.shape)
        size = dict(width=width, height=height)
        image = ElementTree.SubElement(
            root, 'image', id=str(number), name=item.file, **size
        )
        for region in regions(item.labels):
            h, w = region.mask.shape
            ElementTree.SubElement(
                image,
                'mask',
                label=target.classes[region.value],
                source='auto',
                occluded='0',
                rle=', '.join(map(str, runs(region.mask.ravel()))),
                left=str(region.left),
                top=str(region.top),
                width=str(w),
                height=str(h),
                z_order='0',
            )
    path = target.out / 'annotations.xml'
    ElementTree.ElementTree(root).write(path, 'utf-8', xml_declaration=True)
    named = [
        {'name': name, 'color': target.colour(v), 'attributes': []}
        for v, name in enumerate(target.classes)
        if v
    ]
    (target.out / 'labels.json').write_text(json.dumps(named, indent=2))


FORMATS: dict[str, Callable[[Iterable[Item], Target], None]] = {
    'coco': write_coco,
    'yolo': write_yolo,
    'voc': write_voc,
    'labelstudio': write_labelstudio,
    'cvat': write_cvat,
}


def _child(parent: ElementTree.Element, name: str, text: object) -> None:
    ElementTree.SubElement(parent, name).text = str(text)


def _place(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _link(target: Target, file: str, folder: str) -> None:
    """Link an image, or copy it where links are not allowed."""
    source = target.images.absolute() / file
    path = _place(target.out / folder, file)
    try:
        os.symlink(source, path)
    except OSError:
        shutil.copy(source, path)
