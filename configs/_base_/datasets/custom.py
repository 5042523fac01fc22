# Your own images, in the folder OWN_DATA, with the lists that
# tools/dataset_converters wrote. The recipes of configs/custom read this.
_base_ = []  # before the imports, or mmengine takes this for a lazy config
import os  # noqa: E402

from mmrca.datasets.label_list import read_classes  # noqa: E402

# Not mmengine's {{$OWN_DATA}}, which pastes the name into Python source.
own_root = os.environ.get('OWN_DATA', 'data/mine')
own_images = own_root + '/images'
own_ids = own_root + '/labels/train_ids.txt'
own_val_ids = own_root + '/labels/val_ids.txt'
own_names = read_classes(own_root + '/labels/classes.txt')
own_num_classes = len(own_names)
own_num_labels = own_num_classes + 1  # and the background
own_metainfo = dict(classes=('background', *own_names), palette=[])
