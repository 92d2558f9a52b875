"""The log lines of promotions: what was done, and to what. Called by the promoter and by what answers its failures."""

from collections.abc import Iterable, Sequence

import structlog

from daemon.catalog.columns import ColumnChange
from daemon.catalog.ledger.promotions import DuePromotion
from daemon.catalog.promotion import BatchOutcome, TableKey
from daemon.events import Event

log = structlog.get_logger(__name__)


def about(due: DuePromotion) -> dict[str, object]:
    """What a log line says of the promotion it is about."""
    return {
        "domain": due.key.domain,
        "table": due.key.table,
        "batch_id": due.items[0].batch_id,
        "target_layer": str(due.target),
    }


def for_logs(kind: str, reason: str) -> str:
    """What a log line may say: not what other people's code says of values, which logs must not hold."""
    told_by_others = kind in {"transform_failed", "refining_failed", "unexpected"}
    return f"{kind.replace('_', ' ')}: `medalliond lineage` tells the reason" if told_by_others else reason


def tell_changes(key: TableKey, changes: Sequence[tuple[str, Sequence[ColumnChange]]]) -> None:
    """Log what batches changed of their table's columns."""
    for batch_id, changed in changes:
        told = [str(change) for change in changed]
        log.info(Event.SCHEMA_CHANGED, domain=key.domain, table=key.table, batch_id=batch_id, changes=told)


def tell(batch: BatchOutcome) -> None:
    """Log what a transition did: a handful of lines a batch, however many files it has."""
    done = batch.transition
    place = {"domain": done.domain, "table": done.table, "batch_id": done.batch_id}
    log.info(
        Event.TRANSITION_COMPLETED,
        **place,
        source_layer=done.source_layer,
        target_layer=done.target_layer,
        rows=done.row_count_out,
        rows_in=done.row_count_in,
        quarantined=done.rows_quarantined,
        deduplicated=done.rows_deduplicated,
        filtered=done.rows_filtered,
        seconds=round(done.seconds, 4),
    )
    if batch.rows_by_rule:
        log.warning(Event.RECORDS_QUARANTINED, **place, rules=batch.rows_by_rule, file=batch.quarantine_file)
    fates = {
        "duplicate": Event.FILE_DUPLICATE,
        "set_aside": Event.FILE_SET_ASIDE,
        "returned": Event.FILE_INCOMPLETE,
    }
    for fate, event in fates.items():
        files = [file for file in batch.files if file.fate == fate]
        if files:
            log.warning(
                event, **place, files=len(files), reasons=_first_reasons(file.reason for file in files)
            )


def _first_reasons(reasons: Iterable[str | None]) -> list[str]:
    found = [reason for reason in reasons if reason]
    return [*found[:3], f"and {len(found) - 3} more"] if len(found) > 3 else found  # noqa: PLR2004 - three are read
