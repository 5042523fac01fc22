# Photographs with the 20 PASCAL VOC classes in a VOC-style folder.
_base_ = './voc12.py'
data_root = '{{$VOC20_MINI:data/voc20_mini}}'
