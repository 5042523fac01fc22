"""Image files, label lists and masks; what reads them for training.

Nothing is imported here: lists and masks are read without torch, too.
"""
