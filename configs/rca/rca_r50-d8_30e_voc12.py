# RCA with ResNet-50 at stride 8 on PASCAL VOC 2012.
#
#   python tools/train.py configs/rca/rca_r50-d8_30e_voc12.py
#   torchrun --nproc-per-node 4 tools/train.py THIS --launcher pytorch \
#       --auto-scale-lr    # on 8 GPUs 8
#
# Weights: resnet50-0676ba61.pth of torchvision, in the folder weights
# (https://download.pytorch.org/models/).
# Time: not measured at this scale (1,323 iterations of 8 images an epoch on
# one GPU).
# Figures: none; the paper's stand in rca_vgg16_30e_voc12.py.
# We measured nothing at this scale; the recipe ran on generated images.
_base_ = './rca_vgg16_30e_voc12.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        out_indices=(3,),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/resnet50-0676ba61.pth',
        ),
    ),
    cam_head=dict(in_channels=2048),
)
