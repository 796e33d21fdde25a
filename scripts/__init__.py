"""A MONAI bundle for semi-supervised segmentation with cycle consistency."""

__version__ = "0.3.0"
