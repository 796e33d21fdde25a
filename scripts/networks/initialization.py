"""Initialisation of all four networks: weights N(0, 0.02), biases 0 (CycleGAN, section 7.1; the paper follows it)."""

from torch import nn


def initialize_normal(network: nn.Module, std: float = 0.02) -> nn.Module:
    """Draw convolution weights from N(0, std) and norm scales from N(1, std); set biases to 0; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return network
