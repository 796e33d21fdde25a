"""How the learning rate falls."""

from dataclasses import dataclass

from scripts.errors import InputError


@dataclass(frozen=True)
class ConstantThenLinear:
    """Factor 1 for ``constant_epochs``, then linear to 0 at ``max_epochs``; a callable for torch's ``LambdaLR``.

    The paper has "linear decay after every 100 epochs" of 400; read here as constant to 100, zero at 400.
    """

    max_epochs: int
    constant_epochs: int

    def __post_init__(self) -> None:
        if not 0 <= self.constant_epochs <= self.max_epochs:
            raise InputError(
                f"constant_epochs must lie in [0, max_epochs = {self.max_epochs}], got {self.constant_epochs}."
            )

    def __call__(self, epoch: int) -> float:
        """Factor for 0-based ``epoch``."""
        if epoch < self.constant_epochs:
            return 1.0
        falling = self.max_epochs - self.constant_epochs
        return max(0.0, (self.max_epochs - epoch) / falling) if falling else 1.0
