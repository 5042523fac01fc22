# The released code's heads: three 3x3 convolutions before each map, shared by
# the classes in the first head, of each class's own in the second.
_base_ = './rca_r18_toy_paper.py'
model = dict(
    cam_head=dict(num_convs=3, channels=128),
    cls_head=dict(num_convs=3, channels=128, per_class=True),
)
