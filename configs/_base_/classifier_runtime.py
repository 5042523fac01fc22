_base_ = './default_runtime.py'
default_hooks = dict(
    training_check=dict(type='mmrca.TrainingCheckHook'),
    cam_images=dict(type='mmrca.CAMVisualizationHook'),
)
