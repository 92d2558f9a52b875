"""The names of everything the daemon logs, with fields and meaning: the one place that makes them up.

docs/events.md is generated from here. A name is an interface that alarms are built on: added, never changed.
Used by logs.py, settings.py and by every room that logs; imports nothing of ours.
"""

from enum import StrEnum
from typing import Literal, Self

LogFormat = Literal["json", "console"]
"""How log lines look."""
LogLevel = Literal["debug", "info", "warning", "error"]
"""The least that is logged."""


class Event(StrEnum):
    """A thing that happened: a noun and a past verb. As text it is the `event` of the log line."""

    fields: tuple[str, ...]
    meaning: str

    def __new__(cls, name: str, fields: str, meaning: str) -> Self:
        """Make the member `name`; `fields` names what the line says besides, separated by blanks."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.fields = tuple(fields.split())
        member.meaning = meaning
        return member

    # the daemon's life
    DAEMON_STARTED = (
        "daemon_started",
        "root version",
        "the process has its lock and begins to put its parts up",
    )
    DAEMON_READY = ("daemon_ready", "", "files are taken from now on")
    DAEMON_STOPPING = (
        "daemon_stopping",
        "reason",
        "nothing new is taken; the running hops finish",
    )
    DAEMON_STOPPED = ("daemon_stopped", "seconds", "everything is put away; the process ends")
    DAEMON_FAILED = (
        "daemon_failed",
        "reason exception",
        "the daemon cannot go on safely and stops; the reason says the way out",
    )
    RECOVERY_COMPLETED = (
        "recovery_completed",
        "claims batches temporary_files lineage_files seconds",
        "what an earlier run left unfinished was put right at the start",
    )
    CLOCK_STEPPED = (
        "clock_stepped",
        "seconds",
        "the wall clock jumped; timers were set anew",
    )

    # settings and contracts
    CONTRACT_RELOADED = (
        "contract_reloaded",
        "domain table",
        "a new, changed or deleted contract is in force for the next promotions",
    )
    CONTRACT_BROKEN = (
        "contract_broken",
        "path reason",
        "a contract cannot be used; the last good one stays in force, or else its table waits",
    )

    # landing
    FILE_IGNORED = (
        "file_ignored",
        "domain table file reason",
        "a name or a kind of file that is never taken",
    )
    FILE_EMPTY = ("file_empty", "domain table file reason", "a file of no bytes stays in landing")
    BATCH_CLAIMED = (
        "batch_claimed",
        "domain table batch_id files bytes",
        "files of one table were moved out of landing together",
    )
    CLAIM_REFUSED = (
        "claim_refused",
        "error seconds",
        "ready files could not be taken, e.g. for a fault of the disk; they are tried again",
    )
    CLAIM_RECOVERED = (
        "claim_recovered",
        "domain table batch_id",
        "a claim that a crash had cut short was finished or taken back",
    )
    INTAKE_PAUSED = (
        "intake_paused",
        "reason",
        "a file system has less free than its floor (`min_free_bytes`): files stay in landing, what was taken goes on",
    )
    INTAKE_RESUMED = ("intake_resumed", "", "there is room again; files are taken as before")
    SWEEP_COMPLETED = ("sweep_completed", "files seconds", "landing was looked through")
    WATCHER_BLIND = (
        "watcher_blind",
        "reason",
        "events no longer come; the sweep still finds files",
    )
    WATCHER_REBUILT = ("watcher_rebuilt", "seconds", "events come again")
    WATCHER_OVERFLOWED = (
        "watcher_overflowed",
        "",
        "the kernel threw events away; a sweep finds what they told of",
    )

    # promotions
    TRANSITION_COMPLETED = (
        "transition_completed",
        (
            "domain table batch_id source_layer target_layer rows_in rows "
            "quarantined deduplicated filtered seconds"
        ),
        "one hop of one batch is durable",
    )
    BATCH_COMPLETED = (
        "batch_completed",
        "domain table batch_id",
        "nothing of the batch is left to do: its rows are in gold, the rest is set aside or went back to landing",
    )
    BATCH_SPLIT = (
        "batch_split",
        "domain table batch_id target_layer into files kind reason",
        "a batch that failed goes on in parts, so that the file that spoils it is found",
    )
    BATCH_FAILED = (
        "batch_failed",
        "domain table batch_id target_layer kind reason",
        "nothing of the batch could be promoted; its files were set aside with the reason",
    )
    BATCH_PARKED = (
        "batch_parked",
        "domain table batch_id target_layer attempt kind error seconds",
        "the batch waits until a person has edited the contract or the transform; tried after `seconds`",
    )
    PROMOTION_FAILED = (
        "promotion_failed",
        "domain table batch_id target_layer exception",
        "something nobody foresaw went wrong in a promotion; its file is found and set aside",
    )
    PROMOTION_RETRIED = (
        "promotion_retried",
        "domain table batch_id target_layer job attempt kind error seconds",
        "the machine failed, not the data; it is tried again after `seconds`",
    )
    WORKER_DIED = (
        "worker_died",
        "domain table batch_id target_layer files error",
        "a worker process ended during a promotion and was replaced",
    )
    WORKER_TIMED_OUT = (
        "worker_timed_out",
        "domain table batch_id target_layer files error",
        "a promotion took longer than `worker_timeout`; its worker was ended and replaced",
    )
    WORKER_TOO_LARGE = (
        "worker_too_large",
        "domain table batch_id target_layer files error",
        "a promotion took more memory than `worker_memory`; its worker was ended and replaced",
    )

    # what is published, changed
    REQUEST_ANSWERED = (
        "request_answered",
        "request_id accepted message",
        "somebody asked for an undo, redo, rebuild or a decision about quarantine",
    )
    REBUILD_REQUESTED = (
        "rebuild_requested",
        "domain table rebuild_id kind why",
        "layers of a table are to be made anew; what arrives for it waits below them",
    )
    REBUILD_STARTED = (
        "rebuild_started",
        "domain table rebuild_id kind why",
        "layers of a table are made anew beside the published ones",
    )
    REBUILD_COMPLETED = (
        "rebuild_completed",
        "domain table rebuild_id kind",
        "readers see the new layers from now on, all at once",
    )
    REBUILD_FAILED = (
        "rebuild_failed",
        "domain table rebuild_id kind reason",
        "the layers cannot be made anew; the table stays as it was",
    )

    # what was not promoted
    FILE_DUPLICATE = (
        "file_duplicate",
        "domain table batch_id files reasons",
        "the table had the content of these files before; they go to the archive's duplicates",
    )
    FILE_INCOMPLETE = (
        "file_incomplete",
        "domain table batch_id files reasons",
        "files that seem cut short went back to landing; they are taken again when they change, or after `incomplete_wait`",
    )
    FILE_SET_ASIDE = (
        "file_set_aside",
        "domain table batch_id files reasons",
        "whole files go to quarantine",
    )
    RECORDS_QUARANTINED = (
        "records_quarantined",
        "domain table batch_id rules file",
        "records were set aside; `rules` counts them by the rule that caught them",
    )
    SCHEMA_CHANGED = (
        "schema_changed",
        "domain table batch_id changes",
        "a delivery has other columns than its table, or values that its learned types do not fit; `changes` names each",
    )
    CHECK_WARNED = (
        "check_warned",
        "domain table warning",
        "rows fail a check that only warns",
    )

    # after gold
    SOURCE_ARCHIVED = (
        "source_archived",
        "domain table files policy",
        "sources whose rows are in gold were archived as the table's `archive` says",
    )
    GENERATION_PUBLISHED = (
        "generation_published",
        "domain table layer generation",
        "files of a layer were rewritten; readers see the new set from now on",
    )
    LAYER_COMPACTED = (
        "layer_compacted",
        "domain table layer generation files into bytes",
        "rows of a layer stand in other files now: small ones were merged, or batches were taken out of a merged one",
    )
    COMPACTION_FAILED = (
        "compaction_failed",
        "domain table layer error",
        "files could not be merged; they stay as they are",
    )
    GENERATION_REMOVED = (
        "generation_removed",
        "count paths",
        "old sets of files were removed after their grace time",
    )
    MODEL_REFRESHED = (
        "model_refreshed",
        "domain table batch_id rows_in rows seconds",
        "a gold model was made anew from its inputs",
    )
    MODEL_FAILED = (
        "model_failed",
        "domain table error seconds",
        "a gold model could not be made anew; the table stays as it was, tried again after `seconds`",
    )

    # everything else
    LIBRARY_LOGGED = (
        "library_logged",
        "logger message",
        "a library we use (apscheduler, watchdog, pebble) said something",
    )
