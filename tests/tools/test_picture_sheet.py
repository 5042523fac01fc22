import numpy as np
from PIL import Image

from tools.picture_sheet import save_sheet

PHOTO = np.full((6, 8, 3), (200, 100, 0), np.uint8)  # BGR


def test_the_sheet_is_a_picture_with_a_row_per_image(tmp_path):
    rows = [[PHOTO, PHOTO]] * 3
    path = save_sheet(tmp_path / 'sheet.png', ('one', 'two'), rows)
    width, height = Image.open(path).size
    assert height > width
