"""When the prototypes of the prototype CAM are made."""

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrca.checkpoint import read_checkpoint, unwrap, write_checkpoint
from mmrca.checks import Count, Share
from mmrca.datasets.image_level_dataset import unwrap_dataset
from mmrca.engine.prototype_filling import collect_rows, fill
from mmrca.models.prototype_cam import PrototypeCAM
from mmrca.registry import HOOKS


@HOOKS.register_module()
class PrototypeCAMHook(Hook):
    """Fill the prototype CAM after the last iteration, see :func:`fill`.

    The trained weights are saved first; then the last checkpoint gets the
    prototypes, and the validation that follows uses them. Earlier
    checkpoints do not have them. A training that is stopped early gets no
    prototypes.

    Args:
        region: Share of a map's maximum that a class's cells exceed.
        background: Share of their maximum below which the maps of all
            present classes lie in the background.
        rounds: Times that regions are looked for: first by the plain CAM,
            then by the map of the round before.
    """

    def __init__(
        self, region: Share = 0.9, background: Share = 0.1, rounds: Count = 2
    ) -> None:
        self.region = region
        self.background = background
        self.rounds = rounds

    def before_train(self, runner: Runner) -> None:
        """Forget prototypes of other weights and try the first image.

        Raises:
            ValueError: The model has no prototype CAM, or other classes than
                the data set.
        """
        model = unwrap(runner.model)
        if getattr(model, 'prototype_cam', None) is None:
            raise ValueError(
                'PrototypeCAMHook needs a model with a prototype CAM: set '
                'model.prototype_cam or remove the hook from the config.'
            )
        model.prototype_cam.awaited = True
        if runner.iter < runner.max_iters:
            model.prototype_cam.filled.fill_(False)
        # What could fail at the end of the training fails now.
        dataset = unwrap_dataset(runner.train_dataloader.dataset)
        if dataset.num_classes != model.num_classes:
            raise ValueError(
                f'the data set has {dataset.num_classes} classes, '
                f'model.cam_head.num_classes is {model.num_classes}; make '
                'them agree.'
            )
        collect_rows(model, dataset, [0])

    def before_val(self, runner: Runner) -> None:
        """Fill before the validation that follows the training."""
        self._fill_once_trained(runner)

    def after_train(self, runner: Runner) -> None:
        """Fill where no validation follows the training."""
        self._fill_once_trained(runner)

    def _fill_once_trained(self, runner: Runner) -> None:
        prototype_cam = unwrap(runner.model).prototype_cam
        trained = prototype_cam.awaited and runner.iter >= runner.max_iters
        if not trained or prototype_cam.filled:
            return
        fill(
            unwrap(runner.model),
            unwrap_dataset(runner.train_dataloader.dataset),
            self.region,
            self.background,
            self.rounds,
            runner.seed,
        )
        # Known to CheckpointHook, and to a run that was resumed.
        last = runner.message_hub.runtime_info.get('last_ckpt')
        if is_main_process() and last and Path(last).is_file():
            add_prototypes(Path(last), prototype_cam)


def add_prototypes(
    checkpoint: Path, prototype_cam: PrototypeCAM, out: Path | None = None
) -> None:
    """Write a checkpoint again, with the prototypes among its weights.

    Args:
        checkpoint: File written in training.
        prototype_cam: Filled.
        out: File to write; ``checkpoint`` itself if not given.
    """
    saved = read_checkpoint(str(checkpoint))
    for name, value in prototype_cam.state_dict().items():
        saved['state_dict'][f'prototype_cam.{name}'] = value.cpu()
    write_checkpoint(out or checkpoint, saved)
