"""When validation is due."""

from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler


class IntervalValidation(ValidationHandler):
    """MONAI's ``ValidationHandler``, which also validates after the last epoch, so that no run ends without a model."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._due), self)

    def _due(self, engine: Engine, epoch: int) -> bool:
        return epoch % self.interval == 0 or epoch == engine.state.max_epochs
