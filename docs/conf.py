"""The documentation site: ``make docs``."""

import re

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

from mmrca import __version__

project = 'mmrca'
author = 'The mmrca contributors'
project_copyright = author
release = version = __version__
html_title = f'mmrca {release}'
html_theme = 'furo'
html_show_sphinx = False

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx_copybutton',
    'sphinxcontrib.mermaid',
]
exclude_patterns = ['notebooks']
myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 4
# GitHub draws ```mermaid, too.
myst_fence_as_directive = ['mermaid']
mermaid_height = 'auto'
mermaid_fullscreen = False

autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

ANNOTATED = re.compile(
    r'Annotated\[(.+?), FieldInfo\(.*?metadata=\[(.*?)\]\)\]'
)
BOUND = re.compile(r'(Ge|Gt|Le|Lt)\(\w+=(.+?)\)')
SIGNS = {'Ge': '≥', 'Gt': '>', 'Le': '≤', 'Lt': '<'}


def show_range(found):
    """Write ``Annotated[float, '≥0 ≤1']`` for what pydantic makes of it."""
    bounds = [SIGNS[sign] + value for sign, value in BOUND.findall(found[2])]
    return (
        f"Annotated[{found[1]}, '{' '.join(bounds)}']" if bounds else found[1]
    )


def shorten(app, what, name, obj, options, signature, returns):
    """Write ranges into a signature as people do."""
    return signature and ANNOTATED.sub(show_range, signature), returns


def keep_letters(app, what, name, obj, options, lines):
    """Keep 'D.', which is no first entry of a list."""
    lines[:] = [re.sub(r': ([A-Z])\.$', r': \1', line) for line in lines]


def inline_math(self, node):
    """Formulas become MathML, which browsers show without a script."""
    self.body.append(convert(node.astext()))
    raise SkipNode


def block_math(self, node):
    """As above, in a line of its own."""
    self.body.append(convert(node.astext(), display='block'))
    raise SkipNode


def setup(app):
    """Connect the above."""
    app.connect('autodoc-process-signature', shorten)
    app.connect('autodoc-process-docstring', keep_letters, priority=100)
    app.add_html_math_renderer(
        'mathml', (inline_math, None), (block_math, None)
    )


html_math_renderer = 'mathml'
