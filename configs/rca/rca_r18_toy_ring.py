# The released code's memory: rings that start from Gaussian noise. There they
# have 500 rows each, which is more than a class has images here.
_base_ = './rca_r18_toy_paper.py'
train_dataloader = dict(dataset=dict(rows_per_class=500))
model = dict(
    memory=dict(kmeans='sklearn', ring=True, gaussian_start=True),
)
