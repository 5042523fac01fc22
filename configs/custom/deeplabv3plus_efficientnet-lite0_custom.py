# A segmenter of your own images as deeplabv3plus_mobilenet-v2_custom.py, from
# the backbone of an EfficientNet-Lite0 classifier. MMSegmentation has no such
# backbone, so mmrca has to be installed where this segmenter runs.
_base_ = './deeplabv3plus_mobilenet-v2_custom.py'
model = dict(
    data_preprocessor=dict(
        mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]
    ),
    backbone=dict(
        _delete_=True,
        type='mmrca.EfficientNetLite',
        arch='lite0',
        output_stride=16,
        out_indices=(1, 2, 4, 6),
        frozen_stages=6,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            # _scope_: mmrca's loader takes a file of the backbone alone, too.
            _scope_='mmrca',
            checkpoint='{{$CLASSIFIER:work_dirs/rca_efficientnet-lite0_custom/last_checkpoint}}',
            prefix='backbone',
        ),
    ),
)
