# RCA without aggregation: the contrast shapes F, P is the result.
_base_ = './rca_mobilenet-v2_8e_voc20-mini_cosine.py'
model = dict(cam_head=dict(loss_weight=1.0), aggregation=None, cls_head=None)
