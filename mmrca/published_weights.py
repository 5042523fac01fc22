"""What published files of weights call their parts, and want of images."""

import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from torch import Tensor, nn

Normalization = tuple[tuple[float, ...], tuple[float, ...]]

_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_TENSORFLOW = ((127.0,) * 3, (128.0,) * 3)
# The first digits of a file's SHA-256, which are part of its published name,
# and the mean and standard deviation of RGB that it was trained with.
_NORMALIZATIONS = {
    '57934424': _TENSORFLOW,  # EfficientNet-Lite0
    '77cc7160': _TENSORFLOW,  # EfficientNet-Lite1
    '9656183e': _TENSORFLOW,  # EfficientNet-Lite2
    '3b2dc3af': _IMAGENET,  # mmpretrain's MobileNetV2
    '4c544545': _IMAGENET,  # mmpretrain's ViT-B/16 of MAE
    '998cf3e9': _IMAGENET,  # mmpretrain's ConvNeXt-T
    '5641ca5a': _IMAGENET,  # mmpretrain's DINOv2 ViT-S/14
    'ba246503': _IMAGENET,  # mmpretrain's DINOv2 ViT-B/14
    '397923af': _IMAGENET,  # torchvision's VGG16
}
# Parts of a ViT in files of timm and DINOv2, and in mmpretrain.
_TIMM_VIT = {
    r'^patch_embed\.proj\.': 'patch_embed.projection.',
    r'^blocks\.': 'layers.',
    r'\.norm([12])\.': r'.ln\1.',
    r'\.mlp\.fc1\.': '.ffn.layers.0.0.',
    r'\.mlp\.fc2\.': '.ffn.layers.1.',
    r'\.ls1\.gamma$': '.attn.gamma1.weight',
    r'\.ls2\.gamma$': '.ffn.gamma2.weight',
    r'^norm_pre\.': 'pre_norm.',
    r'^norm\.': 'ln1.',
}
# The same of CLIP's image tower.
_CLIP_VIT = {
    r'^visual\.': '',
    r'^conv1\.': 'patch_embed.projection.',
    r'^class_embedding$': 'cls_token',
    r'^positional_embedding$': 'pos_embed',
    r'^ln_pre\.': 'pre_norm.',
    r'^ln_post\.': 'ln1.',
    r'^transformer\.resblocks\.': 'layers.',
    r'\.ln_([12])\.': r'.ln\1.',
    r'\.attn\.in_proj_': '.attn.qkv.',
    r'\.attn\.out_proj\.': '.attn.proj.',
    r'\.mlp\.c_fc\.': '.ffn.layers.0.0.',
    r'\.mlp\.c_proj\.': '.ffn.layers.1.',
}


def published_normalization(path: Path) -> Normalization | None:
    """Look up what a published file of weights wants, by its content.

    Args:
        path: The file, under any name.

    Returns:
        Mean and standard deviation of RGB in 0..255; ``None`` for a file that
        is not known.
    """
    digest = sha256(path.read_bytes()).hexdigest()
    return _NORMALIZATIONS.get(digest[:8])


def timm_normalization(module: nn.Module) -> Normalization | None:
    """Look up what the weights of a ``TIMMBackbone``'s model want.

    Args:
        module: Any backbone.

    Returns:
        As :func:`published_normalization`; ``None`` for other backbones.
    """
    wrapped = getattr(module, 'timm_model', None)
    config = getattr(wrapped, 'pretrained_cfg', None) or {}
    if not {'mean', 'std'} <= set(config):
        return None
    mean, std = (tuple(255 * v for v in config[k]) for k in ('mean', 'std'))
    return mean, std


def with_names_of(
    module: nn.Module, weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Rename published weights as a backbone calls them.

    Knows timm's, DINOv2's and CLIP's names for mmpretrain's
    ``VisionTransformer``, and timm's for what ``TIMMBackbone`` makes of them.

    Args:
        module: The backbone.
        weights: By their names in the file; those that need no new name keep
            theirs.

    Returns:
        The weights that the module may have, under its names.
    """
    names = module.state_dict().keys()
    if 'layers.0.ln1.weight' in names:
        if 'visual.class_embedding' in weights:
            return _clip(weights)
        if 'blocks.0.norm1.weight' in weights:
            return {_rename(k, _TIMM_VIT): v for k, v in weights.items()}
    if hasattr(module, 'timm_model'):
        return _timm(names, weights)
    return weights


def _rename(name: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        name = re.sub(old, new, name)
    return name


def _clip(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pick CLIP's image tower; its tokens lack the axis of the images."""
    tower = {
        _rename(name, _CLIP_VIT): value
        for name, value in weights.items()
        if name.startswith('visual.')
    }
    for name in ('cls_token', 'pos_embed'):
        tower[name] = tower[name].reshape(1, -1, tower[name].shape[-1])
    return tower


def _timm(names: Iterable[str], weights: dict[str, Tensor]) -> dict:
    """Undo what timm does to names where it returns feature maps.

    It writes ``stages_0`` for ``stages.0``, or ``model.`` before all.
    """

    def plain(name: str) -> str:
        name = name.removeprefix('timm_model.').removeprefix('model.')
        return name.replace('_', '.')

    ours = {plain(name): name for name in names}
    return {
        ours.get(plain(name), name.removeprefix('timm_model.')): value
        for name, value in weights.items()
    }
