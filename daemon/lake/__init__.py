"""Files on disk: the only room that renames, syncs or deletes. Atomic, and durable unless it says not."""
