"""What the image generator is shown, and how what it makes becomes an image: hearts painted into surroundings that stay.

E is a region around a heart. Inside it the image is painted flat by a mask, each class in one shade; the generator is given a
window about E and adds to the paint; outside E the image is as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scripts.configuration import flag
from scripts.errors import InputError
from scripts.labels import VOID
from scripts.objectives.regions import around, class_means, moved_to, painted, windows_about
from scripts.objectives.terms import forward_together


@dataclass(frozen=True)
class Scene:
    """A heart to be rendered.

    Attributes:
        mask: (B, K, H, W) float, the classes to render, one-hot or probabilities.
        image: (B, C, H, W) float, its surroundings.
        region: (B, 1, H, W) bool, E.
        shades: (B, K, C) float, what each class is painted in.
    """

    mask: Tensor
    image: Tensor
    region: Tensor
    shades: Tensor

    def flat(self) -> Tensor:
        """``image`` with E painted, (B, C, H, W)."""
        return painted(self.mask, self.shades).where(self.region, self.image)

    def shown(self) -> Tensor:
        """The mask within E, the image with E painted, and E, (B, K + C + 1, H, W)."""
        return torch.cat([self.mask * self.region, self.flat(), self.region.to(self.image.dtype)], 1)


@dataclass(frozen=True)
class Rendering:
    """How hearts are rendered.

    Attributes:
        shades: whether E is painted in the shades of its classes; otherwise it is erased, and the generator has to guess them.
        margin: pixels around a heart that belong to E.
        window: share of the images' height and width, in (0, 1], that the generator sees, about the heart; E ends where it does.

    Raises:
        InputError: for a window outside (0, 1], a margin that is no whole number from 0 on, or shades neither true nor false.
    """

    shades: bool = True
    margin: int = 4
    window: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "shades", flag(self.shades, "objective#rendering#shades"))  # "false" on a command line
        if not 0 < self.window <= 1:
            raise InputError(f"window must lie in (0, 1], got {self.window!r}: give 1 for the whole image.")
        if not (isinstance(self.margin, int) and self.margin >= 0):
            raise InputError(f"margin must be a whole number of pixels, 0 or more, got {self.margin!r}.")

    def region(self, heart: Tensor) -> Tensor:
        """E, (B, 1, H, W) bool, around ``heart`` (B, H, W) bool, as far as the window about it reaches."""
        region = around(heart, self.margin)
        windows = windows_about(region, self.window)
        return windows.paste(windows.cut(region), region.shape[-2:])

    def scene(self, mask: Tensor, image: Tensor, region: Tensor, known: Tensor) -> Scene:
        """The scene in which the shades are those of ``known``, the classes (B, K, H, W) one-hot that ``image`` has."""
        shades = class_means(image, known, region)
        return Scene(mask, image, region, shades if self.shades else torch.zeros_like(shades))

    def placed(self, label: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """``label`` brought to the hearts of ``there``, and E around both.

        Args:
            label: (B, H, W) int64, 255 = void, taken for background.
            there: (B, H, W) int64, the teacher's classes.

        Returns:
            (B, H, W) int64, and (B, 1, H, W) bool, empty where one of the two has no heart.
        """
        placed = moved_to(label.where(label != VOID, 0), there)
        hearts = (there > 0, placed > 0)
        both = torch.stack([heart.flatten(1).any(1) for heart in hearts]).all(0)
        return placed, self.region(hearts[0] | hearts[1]) & both.view(-1, 1, 1, 1)

    def rendered(self, generator: nn.Module, together: bool, scenes: Mapping[str, Scene]) -> dict[str, Tensor]:
        """The images of ``scenes``, (B, C, H, W), by name; ``together``: in one pass of ``generator``."""
        windows = {name: windows_about(scene.region, self.window) for name, scene in scenes.items()}
        seen = {name: windows[name].cut(scene.shown()) for name, scene in scenes.items()}
        images = {}
        for name, patch in forward_together(generator, together, seen).items():
            scene = scenes[name]
            texture = windows[name].paste(patch.to(scene.image.dtype), scene.image.shape[-2:])
            images[name] = (scene.flat() + texture).where(scene.region, scene.image)
        return images


def with_hearts_of_others(label: Tensor, seen: Tensor, sure: Tensor) -> Tensor:
    """``label`` where every second item is what the teacher sees in the item before it, if it is sure of more than half of that heart.

    Args:
        label: (B, H, W) int64.
        seen: (B, H, W) int64, the teacher's classes of unlabelled images.
        sure: the same, 255 where it is not sure.
    """
    other, certain = seen.roll(1, 0), sure.roll(1, 0) != VOID
    heart = other > 0
    mostly = 2 * (heart & certain).flatten(1).sum(1) > heart.flatten(1).sum(1)
    every_second = torch.arange(len(label), device=label.device) % 2 == 1
    return other.where((mostly & every_second).view(-1, 1, 1), label)
