"""Class colours of every picture: Okabe and Ito's set, which colour-blind readers can tell apart."""

from matplotlib.colors import ListedColormap, to_rgba

# Class 0 is see-through. For ACDC: right ventricle blue, myocardium orange, left ventricle green.
COLORS = ("#00000000", "#56B4E9", "#E69F00", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF")


def class_colors(num_classes: int) -> list[str]:
    """One colour a class, class 0 transparent; beyond the set the colours repeat."""
    cycle = COLORS[1:]
    return [COLORS[0], *(cycle[index % len(cycle)] for index in range(num_classes - 1))]


def class_colormap(num_classes: int, alpha: float = 1.0) -> ListedColormap:
    """For ``imshow(label, cmap=..., vmin=0, vmax=num_classes - 1)``."""
    colors = [to_rgba(color) for color in class_colors(num_classes)]
    return ListedColormap([colors[0], *((r, g, b, alpha) for r, g, b, _ in colors[1:])])
