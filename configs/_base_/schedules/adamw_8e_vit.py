# adamw_8e.py for a ViT of 12 blocks. Each block learns .75 times as fast as
# the one after it, so that the first keep what pretraining taught them; such
# networks are customarily fine-tuned so; mmpretrain has .65 for MAE's weights.
# Not tuned.
_base_ = './adamw_8e.py'
decay = 0.75
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            **{
                f'backbone.layers.{block}.': dict(
                    lr_mult=decay ** (12 - block)
                )
                for block in range(12)
            },
            'backbone.patch_embed': dict(lr_mult=decay**13),
            'backbone.cls_token': dict(lr_mult=decay**13),
            'backbone.pos_embed': dict(lr_mult=decay**13),
        }
    )
)
