"""Shows how the CAMs of a few validation images change."""

from collections.abc import Sequence

import mmcv
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample

from mmrca.checks import Count
from mmrca.datasets.images import load_image
from mmrca.pictures import heat
from mmrca.registry import HOOKS


@HOOKS.register_module()
class CAMVisualizationHook(Hook):
    """Hand CAMs over their photos to the visualizer in each validation.

    The images are always the same, evenly spread over the validation set.
    All backends of the visualizer get them, as they get the losses and the
    memory's figures by LoggerHook: files in ``vis_data/vis_image`` by
    default, TensorBoard, WandB or MLflow where ``visualizer.vis_backends``
    names them.

    Args:
        images: How many.
    """

    priority = 'LOW'

    def __init__(self, images: Count = 4) -> None:
        self.images = images

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Draw an image if it is one of the chosen ones."""
        loader = runner.val_dataloader
        assert loader is not None
        # Of this process; only the first one's visualizer writes.
        count = len(loader.sampler)
        chosen = np.linspace(0, count - 1, min(self.images, count)).astype(int)
        first = batch_idx * (loader.batch_size or 1)
        for place, sample in enumerate(outputs or (), first):
            if place in chosen:
                number = int(np.searchsorted(chosen, place))
                # mmengine's MLflow backend takes the name for a file's.
                runner.visualizer.add_image(
                    f'cam_{number}.png', draw_cam(sample), runner.iter
                )


def draw_cam(sample: SegDataSample) -> np.ndarray:
    """Put a photo and the CAMs of its labels side by side.

    Args:
        sample: With ``seg_logits`` [L+1, H, W], ``gt_label`` [L] and the
            image's path.

    Returns:
        uint8 [H, 2W, 3], RGB.
    """
    cams = sample.seg_logits.data[1:].float().cpu()
    shown = cams * sample.gt_label.cpu().bool()[:, None, None]
    photo = load_image(sample.img_path)
    photo = mmcv.imresize(photo, (cams.shape[2], cams.shape[1]))
    return np.hstack([photo[..., ::-1], heat(photo, shown)])
