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
        'labels: kill_at_a_file',
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in (
                'training: full_disk',
                'training with loaders: dead_worker',
                'labels: two_runs',
                'report: kill',
            )
        ),
    ],
)
def test_a_broken_run_goes_on(bench, kind):
    assert kind in KINDS
    assert bench.inject(kind, seed=0) == ''
