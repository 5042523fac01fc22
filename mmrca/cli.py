"""What the command-line tools share: reading a config, and how errors end.

A tool is a file with a ``main()`` and, at its end::

    if __name__ == '__main__':
        run(main)

Its ``main()`` reads the command line and checks what the file system alone
can tell. Only then do functions import torch and what is built on it, which
takes seconds; at the top of a tool stands what is imported quickly.

Anything a user can get wrong (a path, a key, a class name, a broken file) is
raised by the library as ``ValueError`` or ``FileNotFoundError`` carrying one
sentence that names the culprit and says what to do. :func:`run` turns these
into ``error: <sentence>`` on stderr and exit status 2. Every other exception
keeps its traceback.
"""

import functools
import os
import re
import sys
import traceback
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError

from mmengine.config import Config, DictAction
from mmengine.config import config as config_module

from mmrca.checks import check_value, unknown_option

# What the variables that a config reads stand for; empty before one is read.
_variables: dict[str, str] = {}
_PASTED = (
    *('TOY_DATA', 'VOC20_MINI', 'MOBILENET_V2', 'DINOV2'),
    *('LABEL_DIR', 'CLASSIFIER'),
)
_IN_CONFIG = re.compile(r'\{\{\W*\$(\w+)\s*:\s*([^\s\'"}]*)')
_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")
_BUILDER = 'mmengine.registry.build_functions'
_LOADER = 'DataLoader worker (pid'  # how torch says that one is gone
_SHOWN = 200  # characters of options that an error shows
# How long OpenMP's threads spin, in libgomp's and in Intel's words.
SPINNING = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')


def run(main: Callable[[], None]) -> None:
    """Run a tool and end it with one sentence if its input is bad.

    Args:
        main: The tool. It parses ``sys.argv`` itself.

    Raises:
        SystemExit: With status 2 after a ``ValueError``, an ``OSError``
            (``FileNotFoundError`` is one) or whatever mmengine raises when
            it builds a config's parts, or a data loader's worker that was
            killed, with 130 after Ctrl-C. If the
            environment variable ``MMRCA_TRACEBACK`` is set, the exception
            itself comes through instead.
    """
    _set_environment()
    # Said at every start by mmcv about its compiled operators, which mmrca
    # does not use, and by mmseg about pictures and a mean nobody asked for.
    for said in (
        '.*MultiScaleDeformableAttention',
        'The draw is False',
        'Default ``avg_non_ignore`` is False',
    ):
        warnings.filterwarnings('ignore', said, UserWarning)
    # Which variable a config reads is said for each file that reads it.
    config_module.print_log = functools.cache(config_module.print_log)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        pass
    # What a config gets wrong has no common type.
    except Exception as error:
        part = _part_of_config(error)
        if part:
            _end(error, f'the config cannot be built: {part}')
        if _LOADER in str(error):
            _end(
                error,
                f'{sentence(error).rstrip(".")}. It may have needed more '
                'memory than there is: lower train_dataloader.num_workers or '
                'train_dataloader.batch_size, and go on by --resume',
            )
        if not isinstance(error, (ValueError, OSError)):
            raise
        _end(error, sentence(error))
    finally:
        _close_output()


def _close_output() -> None:
    """Write out what is left, unless nobody reads it, as behind ``head``."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try once more, and complain, when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _set_environment() -> None:
    """Set what torch reads when it is imported, here and in children."""
    # Weights from the network are loaded by mmengine, which would run code in
    # them if safe loading fails.
    os.environ.setdefault('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    # Threads that spin while they wait take the cores from other programs,
    # and so from the thread they wait for: see docs/decisions.md.
    if not any(name in os.environ for name in SPINNING):
        os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'


def _end(error: Exception, text: str) -> NoReturn:
    if os.environ.get('MMRCA_TRACEBACK'):
        raise error
    print(f'error: {text}{_origin(text)}', file=sys.stderr)
    sys.exit(2)


def _origin(text: str) -> str:
    """Name the environment variable that a path in an error comes from."""
    for name, value in _variables.items():
        if value and value in text and name not in text:
            how = 'set to' if name in os.environ else 'not set, so'
            return f' (the variable {name} is {how} {value})'
    return ''


def _part_of_config(error: Exception) -> str:
    """Say what part of a config mmengine could not build, and why.

    Empty for an error from elsewhere, or one of ours, which says it itself.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [frame.f_globals.get('__name__', '') for frame in frames]
    ours = _is_ours(error) and isinstance(error, ValueError)
    builders = [
        frame
        for frame, name in zip(frames, names, strict=True)
        if name == _BUILDER
        or (name == 'mmengine.runner.runner' and _builds(frame.f_code.co_name))
    ]
    if ours or isinstance(error, OSError) or not builders:
        return ''
    # A KeyError's own text is in quotes.
    why = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    why = ' '.join(why.partition('. Please check')[0].split())
    known = builders[-1].f_locals
    given = known.get('args', known.get('dataloader_cfg', {}))
    kind = known.get('obj_type', builders[-1].f_code.co_name)
    odd = _UNKNOWN.search(why)
    if odd and 'obj_cls' in known and odd[1] in given:
        return unknown_option(kind, odd[1], known['obj_cls'])
    options = ', '.join(
        f'{key}={value!r}'
        for key, value in given.items()
        # Not parts of its own, nor what mmengine adds.
        if not set('{<\n') & set(repr(value))
    )
    shown = f'{options[:_SHOWN]}...' if len(options) > _SHOWN else options
    return f'{kind}({shown}): {why or type(error).__name__}'


def _is_ours(error: Exception) -> bool:
    """Tell a sentence of mmrca's from what another package raises."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised_in = frames[-1].f_globals.get('__name__', '')
    return raised_in.startswith('mmrca.') and isinstance(
        error, (ValueError, FileNotFoundError)
    )


def _builds(function: str) -> bool:
    return function in ('from_cfg', 'scale_lr') or function.startswith('build')


def sentence(error: Exception) -> str:
    """Say in one line what an exception says.

    Args:
        error: A system error (its number is dropped), one that a data
            loader's worker process passed on (only the original's own words
            are kept, not its traceback), or any other.
    """
    if isinstance(error, OSError) and error.strerror:
        where = f': {error.filename}' if error.filename else ''
        return f'{error.strerror}{where}'
    if isinstance(error, URLError):
        return (
            f'a download failed ({error.reason}). The lines above name it; '
            'get the file elsewhere and name it, weights by --cfg-options '
            'model.backbone.init_cfg.checkpoint=FILE'
        )
    text = str(error).strip()
    if 'Original Traceback' in text:
        text = text.splitlines()[-1].partition(': ')[2]
    return ' '.join(text.split())


def existing_file(path: str, what: str) -> str:
    """Return the path of a file that has to be there.

    Args:
        path: The path as the user gave it.
        what: What the file is, for the error: ``'config'``, ``'checkpoint'``.

    Raises:
        FileNotFoundError: If it is missing or a folder.
    """
    if not path:
        raise ValueError(f'the path of the {what} is empty, name a file')
    if not Path(path).is_file():
        raise FileNotFoundError(f'{what} {path} is not a file, check the path')
    return path


def existing_folder(path: str, what: str) -> str:
    """Return the path of a folder that has to be there.

    Args:
        path: The path as the user gave it.
        what: What it holds, for the error: ``'photos'``.

    Raises:
        FileNotFoundError: If it is missing or a file.
    """
    if not Path(path).is_dir():
        raise FileNotFoundError(
            f'{what} {path} is not a folder, check the path'
        )
    return path


def load_config(path: str, options: dict | None = None) -> Config:
    """Read a config file and change the keys given on the command line.

    Args:
        path: A config file (``.py``, ``.yaml`` or ``.json``).
        options: Dotted keys and their new values, as :class:`ConfigOptions`
            gathers them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it, or a config it inherits from, cannot be read, or a
            dotted key names a section that the config lacks, or
            ``default_scope`` is no name.
    """
    existing_file(path, 'config')
    # The recipes for own images read theirs without mmengine.
    _variables['OWN_DATA'] = os.environ.get('OWN_DATA', 'data/mine')
    try:
        config = Config.fromfile(path)
        sections = set(config)
        for name, default in _IN_CONFIG.findall(config.text):
            _variables[name] = os.environ.get(name, default)
        replaced = _replaced_section(config, options or {})
        config.merge_from_dict(options or {})
    # A config is code: reading one can raise anything.
    except Exception as error:
        if _is_ours(error):  # about a file that the config reads
            raise
        # mmengine pastes what a variable holds into the config's source.
        odd = [n for n in _PASTED if set(os.environ.get(n, '')) & set('\'"\\')]
        why = f' ({odd[0]} holds a quote or backslash)' if odd else ''
        raise ValueError(
            f'config {path} cannot be read{why}: {type(error).__name__}: '
            f'{sentence(error)}'
        ) from error
    if replaced:
        raise ValueError(
            f'--cfg-options {replaced}={(options or {})[replaced]}: this is a '
            f'section of the config; set its options, as {replaced}.NAME=VALUE'
        )
    _check_options(sections, options or {})
    check_value('default_scope', config.get('default_scope', 'mmseg'), str)
    return config


def set_work_dir(config: Config, work_dir: str | None, path: str) -> None:
    """Set where logs and checkpoints go.

    Args:
        config: Changed in place.
        work_dir: The folder asked for; without one the config's own
            ``work_dir`` stays, or ``work_dirs/NAME`` becomes it.
        path: The config's file, which gives that NAME.
    """
    default = config.get('work_dir') or f'work_dirs/{Path(path).stem}'
    config.work_dir = work_dir or default


def _replaced_section(config: Config, options: dict) -> str:
    """Find a dotted key that would put a plain value in a section's place."""
    for key, value in options.items():
        found: Any = config
        for part in key.split('.'):
            found = found.get(part) if isinstance(found, dict | Config) else 0
        if isinstance(found, dict) and not isinstance(value, dict | None):
            return key
    return ''


def _check_options(sections: set[str], options: dict) -> None:
    """Refuse a dotted key that would silently make a section of its own."""
    for key in options:
        section = key.split('.')[0]
        if section != key and section not in sections:
            raise ValueError(
                f'--cfg-options {key}: the config has no {section!r}'
            )


def check_classes(config: Config) -> None:
    """Compare the classes of the model's heads with the data set's.

    Args:
        config: Of a classifier (its heads leave out the background) or of a
            segmenter.

    Raises:
        ValueError: If they differ.
    """
    dataset = config.get('train_dataloader', {}).get('dataset', {})
    classes = dataset.get('metainfo', {}).get('classes')
    if not classes:
        return
    wanted = dict(decode_head=len(classes), cam_head=len(classes) - 1)
    for part, count in wanted.items():
        found = (config.model.get(part) or {}).get('num_classes', count)
        if found != count:
            raise ValueError(
                f'model.{part}.num_classes is {found}, the data set has '
                f'{count} ({"with" if part == "decode_head" else "without"} '
                'the background); make them agree'
            )


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Read options that did not come through the command line.

    Args:
        pairs: As ``'KEY=VALUE'``.

    Returns:
        Dotted keys and their values, for :func:`load_config`.

    Raises:
        ValueError: One has no ``=``, or its value cannot be read.
    """
    parser = _Raising()
    parser.add_argument('--options', nargs='*', action=ConfigOptions)
    return parser.parse_args(['--options', *pairs]).options or {}


class _Raising(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message.removeprefix('--'))


class ConfigOptions(DictAction):
    """``--cfg-options a.b=1 c=[x,y]``: the pairs as a dict of dotted keys."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: list[str],
        option_string: str | None = None,
    ) -> None:
        """Parse the pairs; a malformed one ends the program with status 2."""
        for pair in values:
            if '=' not in pair:
                parser.error(f'{option_string} wants KEY=VALUE, got {pair!r}')
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:  # mmengine's answer to '[1,2'
            parser.error(f'{option_string}: {error}')
