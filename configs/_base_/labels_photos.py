# How labels of photographs are made: what was best on ours (docs/results.md).
pseudo_label = dict(
    scales=(1.0, 1.5),
    flip=True,
    background=dict(type='constant', threshold='auto'),
    margin=0.05,
    refinement=dict(type='pixel_adaptive', half_resolution=True),
)
