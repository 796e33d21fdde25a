"""Training in several processes: gradients and means that are those of one process with all their data.

``torchrun`` starts the processes and tells them who they are; ``configs/multi_gpu_train.json`` calls ``start``. Gradients are
averaged once a step, after the backward passes and before clipping, rather than within them as
``DistributedDataParallel`` does: its hooks want one forward a backward, and here a network is called several times in a step.
Without a group of processes everything here does nothing.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

logger = logging.getLogger(__name__)

TIMEOUT = timedelta(minutes=30)
"""For which a process waits for the others, that may still be reading data."""


def device_of_process() -> torch.device:
    """The GPU of this process, by torchrun's ``LOCAL_RANK``, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def start(device: torch.device) -> None:
    """Join the group that torchrun started: NCCL for tensors on a GPU, Gloo for those on the CPU."""
    if (
        os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    ):
        logger.warning(
            "A restarted job may find the addresses of its first processes (PyTorch 2.13 does): if it cannot connect, put "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchrun."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if "SLURM_JOB_ID" in os.environ and "LOCAL_RANK" in os.environ:
        # Within a Slurm job ignite takes the rank of torchrun, which all its processes share, for theirs.
        os.environ["SLURM_LOCALID"] = os.environ["LOCAL_RANK"]
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=TIMEOUT)


def stop() -> None:
    """Leave the group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0 on; 0 alone writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def synchronize_batch_norm(networks: nn.Module, device: torch.device) -> None:
    """Let batch norm see the images of all processes; changed in place. On the CPU, for which PyTorch has no such norm, each
    process goes on with its own."""
    if count() > 1 and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(networks)


def share_weights(networks: nn.Module) -> None:
    """Give all processes the weights of process 0."""
    if count() > 1:
        for tensor in networks.state_dict().values():
            dist.broadcast(tensor, src=0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Set each gradient to its mean over the processes, in one all-reduce. All must have the same gradients."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(together)
    together /= count()
    for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def averaged(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each scalar over the processes."""
    if count() == 1 or not values:
        return dict(values)
    together = torch.stack([value.float() for value in values.values()])
    dist.all_reduce(together)
    return dict(zip(values, together / count(), strict=True))


def largest(number: int) -> int:
    """The largest of the processes' ``number``; does not wait for the GPU."""
    if count() == 1:
        return number
    tensor = torch.tensor(number)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor)


def gathered(content: Any) -> list[Any]:
    """What every process gave, in order of rank, on process 0; elsewhere an empty list. Plain containers and CPU tensors."""
    if count() == 1:
        return [content]
    everything: list[Any] | None = [None] * count() if rank() == 0 else None
    dist.gather_object(content, everything)
    return everything or []
