# Drawn creatures (tools/make_toy_data.py): 6 classes, 400 train and 100 val
# images of about 160x120.
data_root = '{{$TOY_DATA:data/toy}}'
metainfo = dict(
    classes=(
        'background', 'starpuff', 'ringslug', 'crossbug', 'moonbean',
        'kitefish', 'boltworm',
    ),
    palette=[
        [0, 0, 0], [255, 225, 30], [250, 60, 200], [240, 30, 40],
        [60, 240, 250], [255, 130, 10], [120, 255, 60],
    ],
)  # fmt: skip
