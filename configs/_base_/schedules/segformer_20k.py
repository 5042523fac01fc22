# MMSegmentation's schedule of SegFormer, with 20,000 iterations of 16 images.
_base_ = './seg_20k.py'
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            pos_block=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0),
            head=dict(lr_mult=10.0),
        )
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, end=1500),
    dict(
        type='PolyLR',
        power=1.0,
        by_epoch=False,
        begin=1500,
        end=_base_.max_iters,
    ),
]
