# RCA with ResNet-101 at stride 16 on PASCAL VOC 2012.
#
#   python tools/train.py configs/rca/rca_r101-d16_30e_voc12.py
#   torchrun --nproc-per-node 4 tools/train.py THIS --launcher pytorch \
#       --auto-scale-lr    # on 8 GPUs 8
#
# Weights: as in rca_r101-d8_30e_voc12.py.
# Time: not measured at this scale (1,323 iterations of 8 images an epoch on
# one GPU).
# Figures: none; the paper's stand in rca_vgg16_30e_voc12.py.
# We measured nothing at this scale; the recipe ran on generated images.
_base_ = './rca_vgg16_30e_voc12.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=101,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        out_indices=(3,),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/resnet101-63fe2227.pth',
        ),
    ),
    cam_head=dict(in_channels=2048),
)
