"""Initial weights from the files people have."""

from mmengine.logging import print_log
from mmengine.model import update_init_info
from torch import nn

from mmrca.model_loader import load_weights, part, read_checkpoint
from mmrca.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class Pretrained:
    """Give a backbone all of its weights, or refuse the file.

    In a config::

        init_cfg=dict(type='Pretrained', _scope_='mmrca', checkpoint=FILE)

    mmengine's own initializer of this name goes on without the weights that
    it does not find. The name is kept because mmengine puts off the type
    ``'Pretrained'``, and no other, until everything else is initialised.

    Args:
        checkpoint: A state dict, a checkpoint with a ``state_dict``, or one
            of a whole model, of which the backbone's part is taken.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint or lacks weights of the backbone.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def __call__(self, module: nn.Module) -> None:
        """Load the weights and log those that were not needed."""
        saved = read_checkpoint(self.checkpoint)['state_dict']
        # In the files of OpenMMLab's whole models.
        weights = part(saved, 'backbone') or saved
        spare = load_weights(module, weights, self.checkpoint)
        if hasattr(module, '_params_init_info'):  # for mmengine's log
            update_init_info(module, f'Loaded from {self.checkpoint}')
        print_log(
            f'{type(module).__name__} starts from {self.checkpoint}; '
            f'{len(spare)} of its weights are not needed: '
            f'{", ".join(spare[:3]) or "none"}',
            logger='current',
        )
