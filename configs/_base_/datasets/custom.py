# Your own images, in the folder OWN_DATA, with the lists that
# tools/dataset_converters wrote. The recipes of configs/custom read this.
import pathlib

own_root = '{{$OWN_DATA:data/mine}}'
own_images = own_root + '/images'
own_ids = own_root + '/labels/train_ids.txt'
own_names = (
    pathlib.Path(own_root, 'labels/classes.txt')
    .read_text(encoding='utf-8')
    .splitlines()
)
own_num_classes = len(own_names)
own_num_labels = own_num_classes + 1  # and the background
own_metainfo = dict(classes=('background', *own_names), palette=[])
