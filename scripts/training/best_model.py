"""The weights that validated best."""

from pathlib import Path

from ignite.engine import Events
from monai.engines import Evaluator
from torch import nn

from scripts.model_card import ModelCard


class BestModel:
    """Write ``model.pt`` and its card whenever the evaluator's key metric is the best so far.

    Attach to the evaluator.
    """

    def __init__(self, path: str | Path, network: nn.Module, card: ModelCard) -> None:
        self.path = Path(path)
        self.network = network
        self.card = card

    def attach(self, engine: Evaluator) -> None:
        engine.add_event_handler(Events.COMPLETED, self._save_if_best)

    def _save_if_best(self, engine: Evaluator) -> None:
        if engine.state.best_metric_epoch == engine.state.epoch:
            scores = {name: float(value) for name, value in engine.state.metrics.items()}
            self.card.save(self.path, self.network, scores | {"epoch": engine.state.epoch})
