# RCA with mmpretrain's ConvNeXt-T (stride 32) on PASCAL VOC 2012.
#
#   python tools/train.py configs/rca/rca_convnext-t_30e_voc12.py
#   torchrun --nproc-per-node 4 tools/train.py THIS --launcher pytorch \
#       --auto-scale-lr    # on 8 GPUs 8
#
# Weights: mmpretrain's convnext-tiny_32xb128_in1k_20221207-998cf3e9.pth, in
# the folder weights.
# Time: not measured at this scale (1,323 iterations of 8 images an epoch on
# one GPU).
# Figures: none; the paper's stand in rca_vgg16_30e_voc12.py.
# We measured nothing at this scale; the recipe ran on generated images.
_base_ = './rca_vgg16_30e_voc12.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        out_indices=(3,),
        drop_path_rate=0.1,
        gap_before_final_norm=False,  # else it gives a vector
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/convnext-tiny_32xb128_in1k_20221207-998cf3e9.pth',
        ),
    ),
    cam_head=dict(in_channels=768),
)
# A starting point that was not tuned.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=5e-5, weight_decay=0.05)
)
