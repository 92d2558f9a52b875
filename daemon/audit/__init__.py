"""A root as a whole, offline: proved against its ledger, mended from what it still holds, copied."""
