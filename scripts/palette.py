"""Class colours of every picture: Okabe and Ito's set, which colour-blind readers can tell apart."""

from collections.abc import Mapping, Sequence

from matplotlib import colormaps
from matplotlib.colors import ListedColormap, to_hex, to_rgba

# Class 0 is see-through. For ACDC: right ventricle blue, myocardium orange, left ventricle green.
COLORS = ("#00000000", "#56B4E9", "#E69F00", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF")


Colors = Mapping[str, Sequence[int]]
"""{class index: [red, green, blue], 0 to 255}, as in a data list."""


def class_colors(num_classes: int, colors: Colors | None = None, background: bool = True) -> list[str]:
    """One colour a class: of Okabe and Ito's for up to eight, of Matplotlib's tab20 for more; then the colours repeat.

    Args:
        num_classes: how many.
        colors: of the data set, instead of the bundle's.
        background: whether class 0 is background, which is transparent.
    """
    many = num_classes - int(background) >= len(COLORS)
    cycle = [to_hex(color) for color in colormaps["tab20"].colors] if many else COLORS[1:]  # type: ignore[attr-defined]
    chosen = [cycle[(index - int(background)) % len(cycle)] for index in range(num_classes)]
    for index, color in (colors or {}).items():
        if int(index) < num_classes:
            chosen[int(index)] = "#{:02x}{:02x}{:02x}".format(*color)
    return [COLORS[0], *chosen[1:]] if background else chosen


def class_colormap(
    num_classes: int, alpha: float = 1.0, colors: Colors | None = None, background: bool = True
) -> ListedColormap:
    """For ``imshow(label, cmap=..., vmin=0, vmax=num_classes - 1)``, other values transparent; see ``class_colors``."""
    chosen = [to_rgba(color) for color in class_colors(num_classes, colors, background)]
    shown = [(r, g, b, alpha if a else 0.0) for r, g, b, a in chosen]
    return ListedColormap(shown, under=COLORS[0], over=COLORS[0])
