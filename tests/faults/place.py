"""What faults are injected into: small runs, each of one tool."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import ClassVar

import torch

from tests import tiny
from tests.place import Place

REPO = Path(__file__).parents[2]
_LABELS = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2], [], [1], [2]]


class Work:
    """A command in a folder of its own, and what it is to leave there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the input, which survives a reset."""

    def command(self) -> list[str]:
        """Give tool and arguments."""
        raise NotImplementedError

    def data(self) -> Path:
        """Name a file that the run needs."""
        raise NotImplementedError

    def out(self) -> Path:
        """Name the folder that the run fills."""
        return self.root / 'out'

    def reset(self) -> None:
        """Forget what runs have made."""
        shutil.rmtree(self.out(), ignore_errors=True)
        self.out().unlink(missing_ok=True)

    def result(self) -> dict[str, str]:
        """Give a digest for each thing that must not differ."""
        raise NotImplementedError

    def strays(self) -> list[str]:
        """List what no run should leave."""
        return [str(p) for p in self.root.rglob('.*.part')]


class Training(Work):
    """RCA by epochs: memory, refresh each epoch, prototypes at the end."""

    by_epoch = True
    more: ClassVar[dict] = {}

    def prepare(self) -> None:
        cfg = tiny.config(
            tiny.write_images(self.root / 'data', _LABELS), **self.more
        )
        cfg.train_dataloader.batch_size = 2
        cfg.optim_wrapper.type = 'OptimWrapper'
        cfg.default_hooks.prototype_cam = dict(
            type='mmrca.PrototypeCAMHook', rounds=1
        )
        cfg.model.prototype_cam = dict(
            type='mmrca.PrototypeCAM', num_prototypes=2
        )
        checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=2)
        if self.by_epoch:
            cfg.train_cfg.max_epochs = 3
        else:
            cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=15)
            cfg.train_dataloader.sampler.type = 'InfiniteSampler'
            cfg.default_hooks.memory_bank.update(
                by_epoch=False, warm_up=2, refresh_interval=4
            )
            checkpoint.update(by_epoch=False, interval=4)
            cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.default_hooks.checkpoint = checkpoint
        cfg.work_dir = str(self.out())
        cfg.dump(self.root / 'config.py')

    def command(self) -> list[str]:
        return ['tools/train.py', str(self.root / 'config.py'), '--resume']

    def data(self) -> Path:
        return self.root / 'data/images/3.png'

    def result(self) -> dict[str, str]:
        last = Path((self.out() / 'last_checkpoint').read_text()).name
        saved = torch.load(self.out() / last, weights_only=False)
        states = saved['optimizer']['state']
        tensors = dict(saved['state_dict'])
        for key, state in states.items():
            tensors[f'momentum {key}'] = state['momentum_buffer']
        return {k: _digest(v.numpy().tobytes()) for k, v in tensors.items()}

    def strays(self) -> list[str]:
        left = [str(p) for p in self.out().glob('interrupted.pth')]
        return super().strays() + left


class IterTraining(Training):
    """The same by iterations."""

    by_epoch = False


class LoaderTraining(Training):
    """With two processes that load the images."""

    more: ClassVar[dict] = {
        'train_dataloader.num_workers': 2,
        'train_dataloader.persistent_workers': True,
    }


class Labels(Work):
    """Label making: CAMs, dense CRF, measurement, review."""

    count = 24

    def prepare(self) -> None:
        place = Place(self.root / 'place')
        names = []
        for number in range(self.count):
            name = 'abcd'[number % 4]
            for folder, suffix in (
                ('JPEGImages', 'jpg'),
                ('SegmentationClass', 'png'),
            ):
                source = place.root / folder / f'{name}.{suffix}'
                shutil.copy(source, source.with_stem(f'{name}{number}'))
            names.append(f'{name}{number} {number % 3}\n')
        (place.root / 'labels.txt').write_text(''.join(names))
        place.write_config(
            background=dict(type='constant', threshold='auto'),
            scales=(1.0, 1.5),
        )
        self.place = place

    def command(self) -> list[str]:
        root = self.root / 'place'
        return [
            'tools/make_pseudo_labels.py',
            *(str(root / 'config.py'), str(root / 'model.pth')),
            *('--out-dir', str(self.out() / 'labels')),
            *('--cams', str(self.out() / 'cams'), '--workers', '2'),
        ]

    def data(self) -> Path:
        return self.root / 'place/JPEGImages/b5.jpg'

    def result(self) -> dict[str, str]:
        files = [
            *self.out().rglob('*.png'),
            *self.out().rglob('*.npz'),
            self.out() / 'labels_review.csv',
        ]
        record = json.loads((self.out() / 'labels.json').read_text())
        kept = ('share', 'against_masks', 'background_threshold', 'errors')
        found = {str(f.relative_to(self.out())): f for f in files}
        text = json.dumps({key: record[key] for key in kept})
        return {n: _digest(f.read_bytes()) for n, f in found.items()} | {
            'record': _digest(text.encode())
        }

    def reset(self) -> None:
        super().reset()
        kept = self.root / 'place/model.pth.calibration.json'
        kept.unlink(missing_ok=True)


class Report(Work):
    """A report on labels and their training."""

    def prepare(self) -> None:
        self.labels = Labels(self.root / 'made')
        self.labels.prepare()

    def command(self) -> list[str]:
        return [
            *('tools/report.py', str(self.labels.out() / 'labels')),
            *('--out', str(self.out() / 'report.html')),
        ]

    def data(self) -> Path:
        return self.labels.out() / 'labels.json'

    def result(self) -> dict[str, str]:
        lines = (self.out() / 'report.html').read_text().splitlines()
        kept = [line for line in lines if not line.startswith('<p>Made ')]
        return {'report': _digest('\n'.join(kept).encode())}


WORKS = {
    'training': Training,
    'training by iterations': IterTraining,
    'training with loaders': LoaderTraining,
    'labels': Labels,
    'report': Report,
}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
