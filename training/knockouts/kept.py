"""Finished cases of an interrupted measurement, a file each: one group altered in one way."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recsys.files import replace_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptCases:
    """A folder of finished cases. `key` changes with everything that a case depends on.

    `folder` None: nothing is kept.
    """

    folder: Path | None
    key: str

    def get_or_measure(self, name: str, measure: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """The values of the case `name`, else those of `measure`, which are written. All are JSON values."""
        if self.folder is None:
            return measure()
        path = self.folder / f"{hashlib.sha256(f'{self.key} {name}'.encode()).hexdigest()}.json"
        try:
            kept: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
            return kept
        except FileNotFoundError:
            pass
        except ValueError as error:
            logger.warning("%s is damaged (%s); %s is measured again", path, error, name)
        # Through JSON even when it is new, so that a measurement in two parts equals one in a single part.
        text = json.dumps(measure(), default=asdict)
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
        values: Mapping[str, Any] = json.loads(text)
        return values
