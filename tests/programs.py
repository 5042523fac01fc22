"""Programs and workers, forked from a process that has imported torch.

A new interpreter takes seconds to import torch and MMSegmentation. The fork
server does so once; each program is a process of its own, and imports mmrca
itself. Some tests start new interpreters nevertheless, most of them slow ones.
"""

import gc
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

import torch

# mmengine looks for a GPU when it is imported; this way, a fork can still use
# what it finds.
os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')
FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload(
    [
        *('mmrca', 'mmengine.runner', 'mmpretrain.models'),
        *('mmseg.apis', 'mmseg.datasets', 'mmseg.engine'),
        *('matplotlib.pyplot', 'numba', 'scipy.stats', 'sklearn.metrics'),
        'yapf.yapflib.yapf_api',
    ]
)


def run(
    *command: object, processes: int = 1, cwd: Path | None = None, **variables
) -> CompletedProcess:
    """Run a Python file, or as many as torchrun would with its variables."""
    environment = {**os.environ, **variables}
    if processes > 1:
        environment |= dict(
            WORLD_SIZE=str(processes),
            LOCAL_WORLD_SIZE=str(processes),
            MASTER_ADDR='localhost',
            MASTER_PORT=str(_free_port()),
        )
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ('out', 'err')]
        started = []
        try:
            for rank in range(processes):
                own = dict(RANK=str(rank), LOCAL_RANK=str(rank))
                started.append(
                    FORKS.Process(
                        target=_program,
                        args=(
                            list(map(str, command)),
                            str(cwd or Path.cwd()),
                            environment | (own if processes > 1 else {}),
                            list(map(str, outputs)),
                        ),
                    )
                )
                started[-1].start()
            for process in started:
                process.join()
        finally:
            for process in started:
                process.kill()
        codes = [process.exitcode for process in started]
        out, err = (path.read_text() for path in outputs)
    failed = [code for code in codes if code]
    return CompletedProcess(command, failed[0] if failed else 0, out, err)


def spawn(function, args: tuple, world: int) -> None:
    """Call a function as torch's spawn does."""
    torch.multiprocessing.start_processes(
        function, args, world, start_method='forkserver'
    )


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(('localhost', 0))
        return place.getsockname()[1]


def _program(command, folder, environment, outputs) -> None:
    for number, path in enumerate(outputs, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    paths = environment.get('PYTHONPATH', '').split(os.pathsep)
    tool = Path(folder, command[0])
    sys.path[:0] = [str(tool.parent), *filter(None, paths)]
    sys.argv = command
    torch.set_num_threads(1)
    gc.freeze()  # what is imported is no garbage
    runpy.run_path(str(tool), run_name='__main__')
