# RCA on the drawn creatures, the recipe with the best labels: the memory's
# contrast shapes the features, with ten times the paper's weight; the maps are
# affinities to prototypes of the surest regions and of the background, of all
# images and of the image itself, on all three stages.
_base_ = './rca_r18_toy_cosine_prototype-cam.py'
model = dict(
    cam_head=dict(loss_weight=1.0),
    loss_nce=dict(loss_weight=0.1),
    aggregation=None,
    cls_head=None,
)
