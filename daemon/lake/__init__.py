"""Files on disk: the only room that renames, syncs or deletes.

Everything here is atomic, and durable unless it says not.
"""
