"""The ledger: what arrived, what is planned, what was done; the crash-recovery state of one root.

`Ledger` (ledger.py) gathers its parts, one per user of it: `intake` (landing), `promotions`, `outcomes` and `rest`
(scheduling), `rebuilds`, `shadows`, `compaction`, `quarantine` and `models` (scheduling); `views` serves the command line,
read-only, and is imported alone by commands that only read.
"""
