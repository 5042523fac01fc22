# The paper's RCA on the drawn creatures, but for two choices: affinities are
# the softmax of cosines over .07, and rows follow the features faster.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/toy_cam.py',
    '../_base_/models/cam_r18.py',
    '../_base_/schedules/cam_16e_toy.py',
    '../_base_/rca.py',
]
model = dict(
    _base_.paper,
    memory=_base_.recipe.memory,
    aggregation=dict(
        type='mmrca.SemanticAggregation', temperature=0.07, cosine=True
    ),
)
default_hooks = _base_.contrast_hooks
