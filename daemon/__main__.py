"""The program: the script `medalliond`, and `python -m daemon` where that is not installed."""

import signal


def main() -> None:
    """Run the command line. While it is being loaded, Ctrl-C ends the process at once, without a traceback."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is to be ignored
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from daemon.cli.main import app  # noqa: PLC0415 - takes a moment

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    app(prog_name="medalliond")


if __name__ == "__main__":
    main()
