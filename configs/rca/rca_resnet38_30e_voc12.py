# RCA with ResNet38 at stride 8 on PASCAL VOC 2012.
#
#   python tools/train.py configs/rca/rca_resnet38_30e_voc12.py
#   torchrun --nproc-per-node 4 tools/train.py THIS --launcher pytorch \
#       --auto-scale-lr    # on 8 GPUs 8
#
# Weights: ilsvrc-cls_rna-a1_cls1000_ep-0001.pth, which PSA, IRN and SEAM pass
# around, in the folder weights.
# Time: not measured at this scale (1,323 iterations of 8 images an epoch on
# one GPU).
# Figures: none; the paper's stand in rca_vgg16_30e_voc12.py.
# We measured nothing at this scale; the recipe ran on generated images.
_base_ = './rca_vgg16_30e_voc12.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmrca.ResNet38',
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/ilsvrc-cls_rna-a1_cls1000_ep-0001.pth',
        ),
    ),
    cam_head=dict(in_channels=4096),
)
