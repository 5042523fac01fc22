"""The short form of ``make faults``: a few injections of a kind each."""

import pytest
import torch

from tests.faults.inject import KINDS, Bench


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    torch.set_num_threads(1)
    return Bench(tmp_path_factory.mktemp('faults'))


@pytest.mark.parametrize(
    'kind',
    [
        'training: kill',
        'training: terminate',
        'training: full_disk',
        'labels: kill_at_a_file',
        'labels: two_runs',
        pytest.param(
            'training with loaders: dead_worker', marks=pytest.mark.slow
        ),
        pytest.param('report: kill', marks=pytest.mark.slow),
    ],
)
def test_a_broken_run_goes_on(bench, kind):
    assert kind in KINDS
    assert bench.inject(kind, seed=0) == ''
