"""What systemd is told (sd_notify(3)): READY, RELOADING, STOPPING, STATUS, WATCHDOG. Silent without systemd.

Called by the service. Ten lines of datagram are ours rather than a dependency's: the protocol is frozen.
"""

import os
import socket
import time


class Notifier:
    """Talks to the socket named in `NOTIFY_SOCKET`."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def ready(self) -> None:
        """Files are taken from now on."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Contracts are being read again; `ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Nothing new is taken."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        """Every part is truly well."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.sendto(message.encode(), self._address)
            except OSError:  # systemd restarts or is gone: the work goes on, its watchdog decides
                return
