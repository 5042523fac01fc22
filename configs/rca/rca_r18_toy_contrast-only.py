# RCA without aggregation: the contrast shapes F, P is the result.
_base_ = './rca_r18_toy_cosine.py'
model = dict(cam_head=dict(loss_weight=1.0), aggregation=None, cls_head=None)
