import numpy as np
import torch

from mmrca.pictures import heat, paint

PHOTO = np.full((6, 8, 3), (200, 100, 0), np.uint8)  # BGR


def test_heat_is_red_where_the_highest_map_is_high():
    cams = torch.zeros(2, 6, 8)
    cams[1, :, 4:] = 0.9
    picture = heat(PHOTO, cams).astype(int)
    red, blue = picture[..., 0], picture[..., 2]
    assert (red[:, 4:] > blue[:, 4:]).all()
    assert (blue[:, :4] > red[:, :4]).all()


def test_paint_mixes_palette_and_photo_and_shows_255_white():
    labels = np.array([[0, 1, 255]], np.uint8)
    photo = np.zeros((1, 3, 3), np.uint8)
    picture = paint(photo, labels, [[0, 0, 0], [100, 200, 50]])
    assert picture[0].tolist() == [[0, 0, 0], [70, 140, 35], [178] * 3]
