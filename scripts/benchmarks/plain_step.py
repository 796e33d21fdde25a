"""The yardstick: the paper's step, written out plainly.

Six generator passes, one call each, of which G_SI(G_IS(x)) enters no loss, as in the published code; PyTorch's own instance
norm and 1x1 convolutions; float32 without TF32; no compilation; fakes go to a pool on the host and come back. The equations
are the bundle's own, so that both steps make the same numbers.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from scripts.networks.instance_norm import InstanceNorm2d
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.objectives import cyclegan
from scripts.objectives.cyclegan import CycleGANObjective
from scripts.objectives.terms import one_hot, valid_pixels
from scripts.training.pool import FakePool
from scripts.training.trainer import frozen


class PlainStep:
    """Updates the networks of ``objective`` with one batch a call. The objective serves as a holder of networks and weights.

    Args:
        objective: all six terms active, masks soft.
        optimizer, discriminator_optimizer: of the generators and of the discriminators.
        device: where the networks are.
        seed: of the pools, as the trainer's.
    """

    def __init__(
        self,
        objective: CycleGANObjective,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        device: torch.device | str,
        seed: int = 0,
    ) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.device = torch.device(device)
        self.mask_pool, self.image_pool = FakePool(seed=seed), FakePool(seed=seed + 1)

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One update of all four networks; every term, a detached scalar."""
        with without_tf32():
            x, y, x_unlabeled = (batch[name].to(self.device) for name in ("image", "label", "unlabeled_image"))
            segment, generate = self.objective.generators.values()
            score_mask, score_image = self.objective.discriminators.values()
            self.objective.generators.train()
            self.objective.discriminators.train()
            mask, valid = one_hot(y, self.objective.num_classes).to(x.dtype), valid_pixels(y)

            with frozen(self.objective.discriminators):
                generated_image = generate(mask)
                logits = segment(x)
                generated_mask = segment(x_unlabeled).softmax(1)
                generate(logits.softmax(1))  # used by no term
                reconstructed_logits = segment(generated_image)
                reconstructed_image = generate(generated_mask)
                terms = {
                    "segmentation": cyclegan.segmentation(logits, y),
                    "image_reconstruction": cyclegan.image_reconstruction(generated_image, x, valid),
                    "mask_cycle": cyclegan.mask_cycle(reconstructed_logits, y),
                    "image_cycle": cyclegan.image_cycle(reconstructed_image, x_unlabeled),
                    "mask_adversarial": cyclegan.mask_adversarial(score_mask(generated_mask)),
                    "image_adversarial": cyclegan.image_adversarial(score_image(generated_image), valid),
                }
                self._update(self.optimizer, self.objective.weights.total(terms))

            (fake_mask,) = self._through_host(self.mask_pool, generated_mask)
            fake_image, fake_valid = self._through_host(self.image_pool, generated_image, valid)
            judged = {
                "mask_discriminator": cyclegan.mask_discrimination(score_mask(mask), score_mask(fake_mask), valid),
                "image_discriminator": cyclegan.image_discrimination(
                    score_image(x_unlabeled), score_image(fake_image), fake_valid
                ),
            }
            self._update(self.discriminator_optimizer, judged["mask_discriminator"] + judged["image_discriminator"])
        return {name: term.detach() for name, term in (terms | judged).items()}

    def _update(self, optimizer: Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _through_host(self, pool: FakePool, *fakes: Tensor) -> tuple[Tensor, ...]:
        return tuple(fake.to(self.device) for fake in pool.exchange(tuple(fake.detach().cpu() for fake in fakes)))


@contextmanager
def without_tf32() -> Iterator[None]:
    """Within, float32 on CUDA is float32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def with_plain_norm(network: nn.Module) -> nn.Module:
    """``network`` with PyTorch's instance norm in the place of ours; changed in place."""
    for name, module in network.named_children():
        if isinstance(module, InstanceNorm2d):
            setattr(network, name, nn.InstanceNorm2d(module.num_features))
        else:
            with_plain_norm(module)
    return network


def as_convolutions(discriminator: PixelDiscriminator) -> nn.Sequential:
    """The same discriminator as 1x1 convolutions, from copies of its weights."""
    layers: list[nn.Module] = []
    for layer in deepcopy(discriminator.layers):
        if isinstance(layer, nn.Linear):
            convolution = nn.Conv2d(layer.in_features, layer.out_features, 1, bias=layer.bias is not None)
            convolution.load_state_dict(
                {name: value.view_as(getattr(convolution, name)) for name, value in layer.state_dict().items()}
            )
            layers.append(convolution.to(layer.weight.device))
        elif isinstance(layer, nn.BatchNorm1d):
            norm = nn.BatchNorm2d(layer.num_features).to(layer.weight.device)
            norm.load_state_dict(layer.state_dict())
            layers.append(norm)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)
