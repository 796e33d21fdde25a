"""When validation is due."""

from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler

from scripts.errors import InputError


class IntervalValidation(ValidationHandler):
    """MONAI's ``ValidationHandler``, which also validates after the last epoch, so that no run ends without a model."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._due), self)

    def _due(self, engine: Engine, epoch: int) -> bool:
        return epoch % self.interval == 0 or epoch == engine.state.max_epochs


def slices_of_process(count: int, rank: int, processes: int) -> range:
    """Numbers of the validation slices, of ``count``, that process ``rank`` of ``processes`` sees.

    Raises:
        InputError: a process without a slice, for which the others would wait.
    """
    if processes > 1 and count < processes:
        raise InputError(
            f"{processes} processes cannot share {count} validation slices: start fewer processes, or give more validation "
            "patients."
        )
    return range(rank, count, processes)
