# The paper's 30 epochs of 8 images an iteration. --auto-scale-lr fits the
# learning rate to other numbers of images and processes. Nesterov's momentum,
# the weight decay and the epochs of the decay are the released code's, the
# decay's factor is a guess.
max_epochs = 30
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='SGD', lr=1e-3, momentum=0.9, weight_decay=5e-4, nesterov=True
    ),
    paramwise_cfg=dict(
        custom_keys=dict(
            cam_head=dict(lr_mult=10.0), cls_head=dict(lr_mult=10.0)
        )
    ),
)
auto_scale_lr = dict(enable=False, base_batch_size=8)
param_scheduler = dict(
    type='MultiStepLR', by_epoch=True, milestones=[5, 10], gamma=0.1
)
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
