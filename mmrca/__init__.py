"""Regional semantic contrast and aggregation for MMSegmentation.

Importing the package checks the versions of what it builds on and makes
``type='mmrca.NAME'`` work in configs; the components themselves, and torch
with them, are imported when a config asks for one.
"""

from mmrca._compat import (
    check_versions,
    cure_torchvision,
    hide_debug_prints,
    limit_opencv,
)
from mmrca.version import __version__

check_versions()
cure_torchvision()
limit_opencv()
hide_debug_prints()

from mmrca import registry  # noqa: E402
from mmrca.own_photos import label  # noqa: E402

__all__ = ['__version__', 'label', 'registry']
