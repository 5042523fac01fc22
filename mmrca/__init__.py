"""Regional semantic contrast and aggregation for MMSegmentation.

Importing the package checks the versions of what it builds on and makes
``type='mmrca.NAME'`` work in configs; the components themselves are imported
when a config asks for one.
"""

from mmrca._compat import allow_resuming, check_versions, cure_torchvision
from mmrca.version import __version__

check_versions()
cure_torchvision()
allow_resuming()

from mmrca import registry  # noqa: E402

__all__ = ['__version__', 'registry']
