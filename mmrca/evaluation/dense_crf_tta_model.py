"""A segmenter's test with several views and a dense CRF.

Shape shorthand: C classes, H x W pixels.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmrca.datasets.images import load_image
from mmrca.registry import MODELS


@MODELS.register_module()
class DenseCRFTTAModel(BaseTTAModel):
    """Averages the views as ``SegTTAModel`` does, and refines the mean.

    It takes the place of MMSegmentation's ``SegTTAModel`` in ``tta_model``.
    The CRF has the values customary for photographs of about 500 pixels.

    Args:
        module: The segmenter, as a module or a config.

    Raises:
        ValueError: The segmenter gives one map for two classes.
    """

    def __init__(self, module: dict | torch.nn.Module) -> None:
        super().__init__(module)
        if self.module.out_channels == 1:
            raise ValueError(
                'mmrca.DenseCRFTTAModel needs a map for each class and '
                'model.decode_head.out_channels is 1; remove it or use '
                'SegTTAModel.'
            )
        # Here, as a training that looks up its model imports this file.
        from mmrca.pseudo_labels.dense_crf import DenseCRF

        self.crf = DenseCRF()

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[SegDataSample]]
    ) -> list[SegDataSample]:
        """Merge the views of each image.

        Args:
            data_samples_list: For each image its views' ``seg_logits``
                [C, H, W], all of the image's own size and orientation.

        Returns:
            For each image one sample with ``pred_sem_seg`` [1, H, W].
        """
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views: Sequence[SegDataSample]) -> SegDataSample:
        first = views[0]
        shares = [view.seg_logits.data.softmax(dim=0) for view in views]
        mean = torch.stack(shares).mean(dim=0)
        image = load_image(first.img_path)[..., ::-1]  # RGB
        marginals = self.crf(image, mean.cpu())
        labels = marginals.argmax(dim=0, keepdim=True).to(mean.device)
        first.set_data(dict(pred_sem_seg=PixelData(data=labels)))
        return first
