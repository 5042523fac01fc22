# The released code's memory: rings that start from Gaussian noise. There they
# have 500 rows each, which is more than a class has images here.
_base_ = './rca_r18_toy_paper.py'
train_dataloader = dict(dataset=dict(rows_per_class=500))
model = dict(memory=dict(gaussian_start=True))
custom_hooks = [
    dict(
        type='mmrca.MemoryBankHook',
        momentum=0.99,
        gate=0.7,
        warm_up=2,
        refresh_interval=1,
        kmeans='sklearn',
        ring=True,
    )
]
