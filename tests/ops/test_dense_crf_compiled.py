"""How the compiled CRF behaves; what it computes see test_dense_crf.py."""

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mmrca.ops import dense_crf

RUN = """
import numpy as np
from mmrca.ops import dense_crf
weights = np.ones((4, 3), np.float32)
dense_crf._scale(weights, np.full(4, 2, np.float32))
print(weights.sum(), sum(dense_crf._scale.stats.cache_hits.values()))
"""


def run(folder, **variables):
    done = subprocess.run(
        [sys.executable, '-B', '-c', RUN],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(folder), **variables},
    )
    return done.stdout.split()


def test_a_second_process_does_not_compile(repo, tmp_path):
    cache = dict(NUMBA_CACHE_DIR=str(tmp_path))
    assert run(repo, **cache) == ['24.0', '0']
    assert run(repo, **cache) == ['24.0', '1']


def test_works_where_nothing_can_be_written(repo, tmp_path):
    # A file where the folder would be: that stops root, too.
    ignored = shutil.ignore_patterns('__pycache__', '.mim')
    shutil.copytree(repo / 'mmrca', tmp_path / 'mmrca', ignore=ignored)
    (tmp_path / 'mmrca' / '__pycache__').touch()
    file = tmp_path / 'file'
    file.touch()
    variables = dict(XDG_CACHE_HOME=str(file / 'no'), NUMBA_CACHE_DIR='')
    assert run(tmp_path, **variables) == ['24.0', '0']


def features(pixels, seed=0):
    random = np.random.default_rng(seed)
    return 20 * random.random((5, pixels), dtype=np.float32)


def test_other_threads_run_meanwhile():
    dense_crf.build_lattice(features(9))  # compiles
    many = features(60_000)
    worker = threading.Thread(target=dense_crf.build_lattice, args=[many])
    worker.start()
    turns = 0
    while worker.is_alive():
        time.sleep(0.001)
        turns += 1
    # With the GIL held there would be a turn between two compiled calls.
    assert turns > 20


def test_threads_do_not_disturb_each_other():
    def infer(seed):
        energy = np.random.default_rng(seed).random((3, 500), np.float32)
        kernels = [(features(500, seed), 5.0)]
        return dense_crf.mean_field(energy, kernels, 5)

    alone = [infer(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(infer, range(8)))
    np.testing.assert_array_equal(together, alone)
