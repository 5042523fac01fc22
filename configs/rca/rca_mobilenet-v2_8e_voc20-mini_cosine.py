# The paper's RCA on photographs, but for two choices: affinities are
# the softmax of cosines over .07, and rows follow the features faster.
_base_ = './rca_mobilenet-v2_8e_voc20-mini_paper.py'
model = dict(aggregation=dict(temperature=0.07, cosine=True))
custom_hooks = [
    dict(
        type='mmrca.MemoryBankHook',
        momentum=0.5,
        gate=0.7,
        warm_up=2,
        refresh_interval=1,
    )
]
