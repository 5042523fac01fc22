"""What the pages of docs/ name is there."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from mmrca import __version__

REPO = Path(__file__).parents[1]
PAGES = [
    *(REPO / name for name in ('README.md', 'CONTRIBUTING.md')),
    *sorted(REPO.glob('docs/**/*.md')),
    *sorted(REPO.glob('configs/**/README.md')),
]
FILE = re.compile(
    r'(?<![\w/.])(?:tools|configs|benchmarks|tests)/[\w./-]+\.py'
)
# Not ours, or raised by what mmrca builds on.
FOREIGN = {
    'libGL.so.1: cannot open shared object file',
    'operator torchvision::nms does not exist',
    "No module named 'mmcv._ext'",
    "No module named 'mmrca'",
    'CUDA out of memory',
    'mmrca.EfficientNetLite is not in the … registry',
}
# That the reader makes.
OWN = {
    'configs/custom/mine.py',
    'configs/rca/CONFIG.py',
    'configs/rca_seg/CONFIG.py',
}


@pytest.mark.parametrize(
    'page', PAGES, ids=lambda page: str(page.relative_to(REPO))
)
def test_files_that_a_page_names_exist(page):
    named = {*FILE.findall(page.read_text())} - OWN
    assert {name for name in named if not (REPO / name).exists()} == set()


def messages(path: Path) -> list[str]:
    """Return a module's strings, with … for what is formatted into them."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = [
                part.value if isinstance(part, ast.Constant) else '…'
                for part in node.values
            ]
            found.append(''.join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def test_errors_of_the_troubleshooting_page_are_those_of_the_code():
    page = (REPO / 'docs/troubleshooting.md').read_text()
    headings = {*re.findall('^### `(.+)`$', page, re.M)}
    assert headings > FOREIGN
    files = [p for folder in ('mmrca', 'tools') for p in _modules(folder)]
    said = '\n'.join(text for file in files for text in messages(file))
    for heading in headings - FOREIGN:
        parts = [re.escape(part) for part in heading.split('…')]
        assert re.search('.+?'.join(parts), said), heading


def _modules(folder: str) -> list[Path]:
    files = (REPO / folder).rglob('*.py')
    return [file for file in files if '.mim' not in file.parts]


def test_the_page_of_formulas_has_every_module():
    page = (REPO / 'docs/reference/ops.md').read_text()
    listed = {*re.findall(r'automodule:: mmrca\.ops\.(\w+)', page)}
    files = (REPO / 'mmrca/ops').glob('[!_]*.py')
    assert listed == {file.stem for file in files}


def test_the_configuration_page_has_every_registered_class():
    page = (REPO / 'docs/reference/configuration.md').read_text()
    listed = {*re.findall(r'autoclass:: mmrca\.(?:\w+\.)+(\w+)', page)}
    registered = {
        node.name
        for file in _modules('mmrca')
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        and any('register_module' in ast.dump(d) for d in node.decorator_list)
    }
    assert registered <= listed


def versions(name: str) -> dict[str, str]:
    text = (REPO / 'requirements' / name).read_text()
    return dict(re.findall(r'^([\w.-]+)==([\w.]+)', text, re.M))


def test_the_lock_file_has_the_pinned_versions():
    pinned = versions('pinned.txt') | versions('headless.txt')
    del pinned['opencv-python']
    assert pinned.items() <= versions('lock.txt').items()


def test_pre_commit_has_the_pinned_versions():
    pinned = versions('pinned.txt')
    config = yaml.safe_load((REPO / '.pre-commit-config.yaml').read_text())
    (local,) = config['repos']
    for hook in local['hooks']:
        for package in hook.get('additional_dependencies', ()):
            name, version = package.split('==')
            assert version == pinned.get(name, version)


def test_the_citation_has_the_version():
    citation = yaml.safe_load((REPO / 'CITATION.cff').read_text())
    assert citation['version'] == __version__
