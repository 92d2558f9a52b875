"""The ground floor: contracts, transitions, the ledger. Knows nothing of the rooms above; never imports polars."""
