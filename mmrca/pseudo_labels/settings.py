"""The settings of ``pseudo_label`` in a config, read and checked."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, replace
from inspect import Parameter, signature
from typing import Annotated, Any

from mmengine.config import Config, ConfigDict
from pydantic import Field

from mmrca.checks import Positive, Share, check_arguments, unknown_option
from mmrca.pseudo_labels.cues import AUTO
from mmrca.registry import CUES, REFINEMENTS, Registry

_WHERE = 'pseudo_label'


@dataclass(frozen=True)
class Settings:
    """How labels are made of an image's maps (``model.test_cfg``).

    Attributes:
        scales: Factors of the image's size, each > 0.
        flip: Whether mirror images take part.
        background: The background cue, ``dict(type=..., ...)`` of
            :data:`mmrca.registry.CUES`. A constant ``threshold`` may be
            ``'auto'``: chosen without masks.
        margin: A pixel is unlabelled where its best score leads the second
            by less.
        refinement: None, ``dict(type=..., ...)`` of
            :data:`mmrca.registry.REFINEMENTS`, or a list of these that follow
            one another.
        conflict: A pixel is unlabelled where two CAMs reach this, in 0..1.
        background_conflict: Whether a pixel is unlabelled where its label
            and the background cue disagree.
        amp: Whether the network runs in mixed precision, on a GPU only.
    """

    scales: Annotated[
        list[Positive] | tuple[Positive, ...], Field(min_length=1)
    ]
    flip: bool
    background: dict
    margin: Share
    refinement: dict | list[dict] | tuple[dict, ...] | None = None
    conflict: Share | None = None
    background_conflict: bool = False
    amp: bool = False

    @property
    def auto(self) -> bool:
        """Whether the threshold is still to be chosen."""
        return self.background.get('threshold') == AUTO

    def with_threshold(
        self, threshold: float, refined: float | None
    ) -> 'Settings':
        """Return a copy with constant background thresholds.

        One given for refined scores stays.
        """
        found = {'threshold': threshold, 'refined': refined}
        given = {k: v for k, v in self.background.items() if v is not None}
        return replace(
            self, background={**found, **given, 'threshold': threshold}
        )

    def build_cue(self) -> Any:
        """Build the background cue.

        Raises:
            ValueError: If its type or an argument is unknown or wrong.
        """
        return _build(CUES, f'{_WHERE}.background', self.background)

    def file_checks(self) -> list[Callable[[str, tuple[int, int]], None]]:
        """List what checks the files that belong to each image.

        Each is called with an image's ID and size, and raises
        :class:`mmrca.datasets.images.ImageError`.
        """
        parts = [self.build_cue(), *self.build_refinements()]
        return [part.check for part in parts if hasattr(part, 'check')]

    def build_refinements(self) -> list[Any]:
        """Build the refinements in their order.

        Raises:
            ValueError: If a type or an argument is unknown or wrong.
            FileNotFoundError: If a file that one names is missing.
        """
        where = f'{_WHERE}.refinement'
        given = self.refinement
        if given is None:
            return []
        if isinstance(given, dict):
            return [_build(REFINEMENTS, where, given)]
        return [
            _build(REFINEMENTS, f'{where}[{index}]', one)
            for index, one in enumerate(given)
        ]


def read_settings(config: Config) -> Settings:
    """Read ``pseudo_label`` from a config and check it.

    Raises:
        ValueError: If a key is missing or unknown, or a value wrong; it
            names the key.
        FileNotFoundError: If a folder of the cue is missing.
    """
    for key in ('model', 'train_dataloader', _WHERE):
        if key not in config:
            raise ValueError(f'the config has no {key}.')
    given = config[_WHERE]
    if not isinstance(given, dict):
        raise ValueError(f'{_WHERE} must be a dict, not {given!r}.')
    known = {field.name: field.default for field in fields(Settings)}
    for key in given:
        if key not in known:
            raise ValueError(
                f'{_WHERE} has no option {key!r}; it has '
                f'{", ".join(sorted(known))}.'
            )
    for key, default in known.items():
        if default is MISSING and key not in given:
            raise ValueError(f'{_WHERE} needs the option {key!r}.')
    given = given.to_dict() if isinstance(given, ConfigDict) else given
    check_arguments(_WHERE, Settings.__init__, None, **given)
    settings = Settings(**given)
    settings.build_cue()
    settings.build_refinements()
    return settings


def _build(registry: Registry, where: str, given: Any) -> Any:
    options = dict(given) if isinstance(given, dict) else {}
    kind = options.pop('type', None)
    try:
        # Not registry.build, which looks for mmseg's registry first.
        found = registry.get(kind)
    except (TypeError, RuntimeError):  # not a str, cannot be imported
        found = None
    if found is None:
        raise ValueError(
            f'{where}.type must be one of {", ".join(registry.module_dict)}, '
            f'or a class that can be imported, not {kind!r}.'
        )
    known = signature(found).parameters
    kinds = {parameter.kind for parameter in known.values()}
    for name in options if Parameter.VAR_KEYWORD not in kinds else ():
        if name not in known:
            raise ValueError(
                f'{unknown_option(f"{where} ({kind})", name, found)}. Another '
                f'type than the config has needs {where}._delete_=True'
            )
    try:
        return found(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{where}: {error}') from error
