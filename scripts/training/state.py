"""Everything needed to go on with a run as if it had never stopped."""

import logging
import random
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import Evaluator

from scripts.errors import InputError
from scripts.files import save_tensors
from scripts.training import processes
from scripts.training.finite import REMEDY, NonFiniteLossError
from scripts.training.trainer import AlternatingTrainer, Positioned

logger = logging.getLogger(__name__)
FORMAT = 3


class TrainingState:
    """Save ``training_state.pt`` at the end of every epoch and when the run is asked to stop; load it to resume.

    Attach after validation, so that the best score is in it. On SIGTERM or Ctrl-C the state is saved after the step in
    progress and the process exits with 128 + the signal's number, as shells expect. Of several processes the first
    writes for all, and all stop at the same step; a run may go on with another number of processes, from where it was in
    its epoch.

    Args:
        path: the file; written whole or not at all.
        fingerprint: plain JSON of what must not change between stop and resume (networks, data list, schedule).
        resume: whether to load ``path`` at the start.
        overwrite: whether a new run may take the place of one whose state is at ``path``.
        replaces: further files of such a run, removed at the start.
        evaluator: its best score is kept.

    Raises:
        InputError: at the start, when resuming without a state or under another fingerprint, and when a new run would
            replace another. NonFiniteLossError: instead of saving weights that are not finite.
    """

    def __init__(
        self,
        path: str | Path,
        fingerprint: Mapping[str, Any],
        resume: bool = False,
        overwrite: bool = False,
        replaces: Sequence[str | Path] = (),
        evaluator: Evaluator | None = None,
    ) -> None:
        self.path = Path(path)
        self.fingerprint = dict(fingerprint)
        self.resume = resume
        self.evaluator = evaluator
        self._signal = 0
        self.replaces = [Path(name) for name in (path, *replaces)]
        self._loaded = self._read() if resume else None
        if not resume and self.path.is_file() and not overwrite:
            raise InputError(
                f"{self.path} holds a run already: go on with it by --resume true, start another one beside it with another "
                "--output_dir and --ckpt_dir, or replace it by --overwrite true."
            )

    def attach(self, engine: AlternatingTrainer) -> None:
        if self.resume:
            engine.add_event_handler(Events.STARTED, self.restore)
        elif processes.rank() == 0:
            engine.add_event_handler(Events.STARTED, self._clear)
        engine.add_event_handler(Events.STARTED, self._listen)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop_if_asked)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save_epoch)

    def _clear(self) -> None:
        """A new run is not mistaken for the one that was here."""
        for path in self.replaces:
            path.unlink(missing_ok=True)

    def save(self, engine: AlternatingTrainer) -> None:
        objective = engine.objective
        networks = objective.generators.state_dict(prefix="generators.")
        networks |= objective.discriminators.state_dict(prefix="discriminators.")
        broken = [name for name, tensor in networks.items() if not torch.isfinite(tensor).all()]
        if broken:
            raise NonFiniteLossError(
                f"weights are NaN or infinite at iteration {engine.state.iteration}, {broken[0]} among {len(broken)} tensors, "
                f"though every loss was finite. The last saved state is intact: {REMEDY}"
            )
        pools = {name: pool.state_dict() for name, pool in engine.pools.items()}
        of_processes = processes.gathered({"pools": pools, "random": _random_state()})
        if processes.rank() != 0:
            return
        state = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "networks": networks,
            "optimizers": {side: optimizer.state_dict() for side, optimizer in engine.optimizers.items()},
            "schedulers": {side: _plain(scheduler.state_dict()) for side, scheduler in engine.schedulers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in engine.scalers.items()},
            "processes": of_processes,
            "engine": {name: getattr(engine.state, name) for name in ("epoch", "iteration", "epoch_length")},
            "best": _best(self.evaluator),
            "handlers": {name: handler.state_dict() for name, handler in engine.stateful.items()},
        }
        save_tensors(self.path, state)

    def restore(self, engine: AlternatingTrainer) -> None:
        """Put the loaded state into the engine, its networks and its data."""
        if self._loaded is None:  # a further round of a federated client goes on by itself
            return
        state, device = self._loaded, engine.state.device
        _restore_learning(engine, state)
        mine = state["processes"][processes.rank() % len(state["processes"])]
        for name, pool in engine.pools.items():
            pool.load_state_dict(mine["pools"][name], device)
        for name, handler in engine.stateful.items():
            handler.load_state_dict(state["handlers"].get(name) or {})
        if self.evaluator is not None:
            self.evaluator.state.best_metric = state["best"]["metric"]
            self.evaluator.state.best_metric_epoch = state["best"]["epoch"]
        # With more processes an epoch has fewer iterations.
        epochs, rest = divmod(state["engine"]["iteration"], state["engine"]["epoch_length"])
        length = engine.state.epoch_length
        engine.state.iteration = epochs * length + rest * length // state["engine"]["epoch_length"]
        engine.state.epoch = engine.state.iteration // engine.state.epoch_length
        if isinstance(engine.data_loader, Positioned):
            engine.data_loader.position = engine.state.iteration
        _set_random_state(mine["random"])
        self._loaded = None
        logger.info(
            "Resumed from %s after epoch %d, iteration %d", self.path, engine.state.epoch, engine.state.iteration
        )

    def _read(self) -> dict:
        if not self.path.is_file():
            raise InputError(
                f"--resume true, but there is no {self.path}: start without --resume, or give its --ckpt_dir."
            )
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            here = _flat(self.fingerprint)
            there = _flat(state["fingerprint"])
        except Exception as error:
            raise InputError(
                f"{self.path} cannot be read as a training state ({error}): start without --resume."
            ) from error
        different = [key for key in sorted(here | there) if here.get(key) != there.get(key)]
        if different:
            shown = "; ".join(f"{k}: {_short(there.get(k))} then, {_short(here.get(k))} now" for k in different[:5])
            raise InputError(
                f"cannot resume from {self.path}: {len(different)} setting(s) differ from the interrupted run ({shown}). "
                "Resume with the same settings, or start a new run with another --output_dir and --ckpt_dir."
            )
        return state

    def _listen(self, engine: AlternatingTrainer) -> None:
        def remember(number: int, frame: FrameType | None) -> None:
            self._signal = number
            logger.info("Stopping after this step; the state will be saved.")

        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.signal(number, remember)
            engine.on_exit.callback(signal.signal, number, previous)

    def _stop_if_asked(self, engine: AlternatingTrainer) -> None:
        asked = processes.largest(self._signal)
        if not asked or engine.accumulating:
            return
        engine.guard.check()
        if engine.state.iteration % engine.state.epoch_length:
            self.save(engine)
            self._leave(engine, asked)

    def _save_epoch(self, engine: AlternatingTrainer) -> None:
        self.save(engine)
        if asked := processes.largest(self._signal):
            self._leave(engine, asked)

    def _leave(self, engine: AlternatingTrainer, asked: int) -> None:
        logger.info("Stopped at iteration %d; go on with --resume true.", engine.state.iteration)
        raise SystemExit(128 + asked)


def _restore_learning(engine: AlternatingTrainer, state: Mapping[str, Any]) -> None:
    """Networks, optimizers, learning rates and gradient scales."""
    for name in ("generators", "discriminators"):
        prefix = f"{name}."
        weights = {k.removeprefix(prefix): v for k, v in state["networks"].items() if k.startswith(prefix)}
        getattr(engine.objective, name).load_state_dict(weights)
    for side, optimizer in engine.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][side])
        engine.schedulers[side].load_state_dict(state["schedulers"][side])
    for name, scaler in engine.scalers.items():
        if scaler.is_enabled() and state["scalers"][name]:  # empty if the run had another precision so far
            scaler.load_state_dict(state["scalers"][name])


def _best(evaluator: Evaluator | None) -> dict:
    state = evaluator.state if evaluator is not None else None
    return {"metric": float(getattr(state, "best_metric", -1)), "epoch": int(getattr(state, "best_metric_epoch", -1))}


def _plain(state: dict) -> dict:
    """A scheduler's state without its callables."""
    return {key: value for key, value in state.items() if key != "lr_lambdas"} | {"lr_lambdas": [None]}


def _random_state() -> dict:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - third-party code may use the global generator
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def _set_random_state(state: dict) -> None:
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def _flat(content: Any, key: str = "") -> dict[str, Any]:
    """Nested dicts as one of dotted keys; lists are values."""
    if not isinstance(content, Mapping):
        return {key: content if not isinstance(content, tuple) else list(content)}
    return {k: v for name, value in content.items() for k, v in _flat(value, f"{key}.{name}" if key else name).items()}


def _short(value: Any) -> str:
    text = f"{len(value)} entries {value}" if isinstance(value, list) and len(value) > 3 else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
