"""Which of the set-aside records and files a command is about."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Selection:
    """Options as they were typed; None or empty: any."""

    table: str | None = None
    rule: str | None = None
    file: str | None = None
    since: datetime | None = None
    records: tuple[int, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.table or self.rule or self.file or self.since or self.records)

    def is_of(self, name: str | None) -> bool:
        """Whether a dropped file of this name (or a member of it) is meant; None may be any."""
        if self.file is None or name is None:
            return True
        owner = name.partition("!")[0]
        return any(self.file == found or found.endswith(f"/{self.file}") for found in (name, owner))

    def is_after(self, at: str | None) -> bool:
        """Whether what happened at this instant (ISO 8601, UTC) is recent enough."""
        return (
            self.since is None or at is None or datetime.fromisoformat(at).replace(tzinfo=None) >= self.since
        )
