"""What a watch did, line by line, on the disk before it goes on."""

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path


class Journal:
    """A JSON object a line: ``time`` (UTC), ``study`` (its number), ``event`` and, of some, ``reason``.

    A line that a sudden end cut short is passed over when read, and closed before the next is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[dict] = []
        text = path.read_bytes() if path.is_file() else b""
        for line in text.split(b"\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and {"study", "event"} <= set(entry):
                self.entries.append(entry)
        if text and not text.endswith(b"\n"):
            self._append("\n")

    def write(self, study: int, event: str, **more: str | int) -> None:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        self.entries.append({"time": time, "study": study, "event": event, **more})
        self._append(json.dumps(self.entries[-1], ensure_ascii=False) + "\n")

    def count(self, study: int, event: str) -> int:
        return Counter((entry["study"], entry["event"]) for entry in self.entries)[study, event]

    def last_number(self) -> int:
        return max((int(entry["study"]) for entry in self.entries), default=0)

    def _append(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
