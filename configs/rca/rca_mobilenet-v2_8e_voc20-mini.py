# RCA on photographs, the recipe with the best labels: the memory's contrast
# shapes the features; the maps are affinities to prototypes of the surest
# regions and of the background, of all images and of the image itself, on the
# last four stages, averaged over cells that look alike.
_base_ = './rca_mobilenet-v2_8e_voc20-mini_cosine_prototype-cam.py'
model = dict(cam_head=dict(loss_weight=1.0), aggregation=None, cls_head=None)
