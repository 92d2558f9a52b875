"""Campaigns that try to break medalliond, each a command: `python -m tests.torture NAME --n … --seed …`."""
