# The paper's method on VOC and COCO, but for data, backbone and schedule:
# `model = _base_.paper`. The paper does not fix the scale of the affinity.
_base_ = ['./classifier_runtime.py', './rca.py']
paper = dict(aggregation=dict(temperature=0.07, cosine=True))
default_hooks = _base_.contrast_hooks
pseudo_label = dict(
    scales=(0.5, 1.0, 1.5),
    flip=True,
    background=dict(type='constant', threshold='auto'),
    margin=0.05,
    refinement=dict(type='dense_crf', iterations=10),
)
