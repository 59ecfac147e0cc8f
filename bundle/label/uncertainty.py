"""Active learning: which radiograph is most worth drawing on next."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from bundle.label.refusal import ArchiveError, RefusedError
from bundle.label.studies import away
from bundle.reading.radiograph import RadiographError

logger = logging.getLogger(__name__)

Look = Callable[[str], Sequence[Mapping[str, Any]]]


def uncertainty(predictions: Sequence[Mapping[str, Any]]) -> float:
    """Mean binary entropy, in bits, of the findings' image scores: 0 where the network is sure, 1 where it is not."""

    def entropy(p: float) -> float:
        return 0.0 if p in (0.0, 1.0) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    return sum(entropy(float(each["score"])) for each in predictions) / len(predictions)


def _unreadable(error: Exception) -> bool:
    """Whether a radiograph will not be readable the next time either."""
    if isinstance(error, RefusedError):
        return error.status != 404  # gone since it was listed
    return isinstance(error, RadiographError) and not away(error)


class UncertaintyStrategy(Strategy):
    """Proposes the radiograph without a label of which the network is least sure.

    Those proposed before come after the others, the longest ago first. A request looks at no more than `at_once`
    radiographs that the present weights have not seen, so that it is answered soon; the next request goes on.

    Args:
        look: a radiograph's name -> `prediction`, as inference answers it.
        weights: a mark of the present weights: when it changes, all are looked at anew.
        at_once: see above.
    """

    def __init__(self, look: Look, weights: Callable[[], Any], at_once: int = 32) -> None:
        super().__init__("The radiograph of which the network is least sure (entropy of its image scores)")
        self.look, self.weights, self.at_once = look, weights, at_once
        self._mark: Any = None
        self._seen: dict[str, float | None] = {}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """{"id", "weight"}: the radiograph and its uncertainty; None where all have labels, or cannot be looked at.

        Raises:
            Exception: what `look` raises, where no radiograph could be looked at and another time one may.
        """
        if (mark := self.weights()) != self._mark:
            self._mark, self._seen = mark, {}
        failed: Exception | None = None
        images = sorted(datastore.get_unlabeled_images())
        for image in [image for image in images if image not in self._seen][: self.at_once]:
            try:
                predictions = self.look(image)  # none of an image that is not assessed: it is not proposed
                self._seen[image] = uncertainty(predictions) if predictions else None
            except ArchiveError as error:  # the others would wait as long
                failed = error
                break
            except Exception as error:
                if _unreadable(error):
                    self._seen[image] = None  # whoever asks for it by name is told why
                    continue
                failed = error  # the next request tries again
                logger.warning("Next Sample passed over a radiograph: %s", type(error).__name__)
        name = str(request.get("strategy", ""))
        known = [(image, value) for image in images if (value := self._seen.get(image)) is not None]
        if not known:
            if failed is not None:
                raise failed
            return None
        proposed = {
            image: datastore.get_image_info(image).get("strategy", {}).get(name, {}).get("ts", 0) for image, _ in known
        }
        image, value = min(known, key=lambda each: (proposed[each[0]], -each[1], each[0]))
        return {"id": image, "weight": round(value, 4)}
