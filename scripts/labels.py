"""What label values mean in every room."""

VOID = 255
"""Label value of pixels that belong to no class: ignored in every loss and metric."""
