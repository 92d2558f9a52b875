"""`python -m daemon`: the command line, for places where the `medalliond` script is not installed."""

from daemon.cli.main import app

app(prog_name="medalliond")
