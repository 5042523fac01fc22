# Your own images, in the folder OWN_DATA, with the lists that
# tools/dataset_converters wrote. The recipes of configs/custom read this.
_base_ = []  # before the imports, or mmengine takes this for a lazy config
import os  # noqa: E402

from mmrca.datasets.label_list import read_classes, read_labels  # noqa: E402

# Not mmengine's {{$OWN_DATA}}, which pastes the name into Python source.
own_root = os.environ.get('OWN_DATA', 'data/mine')
own_images = own_root + '/images'
own_list = own_root + '/labels/train.csv'
own_names = read_classes(own_root + '/labels/classes.txt')
own_count = len(read_labels(own_list, own_names))
own_num_classes = len(own_names)
own_num_labels = own_num_classes + 1  # and the background
own_metainfo = dict(classes=('background', *own_names), palette=[])
# Both may be missing: images that are held back, and masks of these, and of
# training images. Masks are measured with and never trained on.
own_val_list = own_root + '/labels/val.csv'
own_masks = own_root + '/masks'
own_has_val = os.path.isfile(own_val_list)
own_has_masks = os.path.isdir(own_masks)
own_prefix = dict(img_path=own_images)
if own_has_masks:
    own_prefix['seg_map_path'] = own_masks
own_load_masks = [dict(type='LoadAnnotations')] if own_has_masks else []
