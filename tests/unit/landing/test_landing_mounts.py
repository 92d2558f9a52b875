from pathlib import Path

import pytest

from daemon.landing.mounts import file_system_type, is_remote

TABLE = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:44 / /srv/drop rw,relatime shared:9 - nfs4 server:/drop rw,vers=4.2
31 30 0:45 / /srv/drop/local\\040disk rw - xfs /dev/vdb rw
32 22 0:46 / /mnt rw - ext4 /dev/vdc rw
33 32 0:47 / /mnt rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/landing", "ext4"),
        ("/srv/drop", "nfs4"),
        ("/srv/drop/landing", "nfs4"),
        ("/srv/dropped", "ext4"),
        ("/srv/drop/local disk/landing", "xfs"),
        ("/mnt/landing", "cifs"),
    ],
)
def test_the_deepest_and_last_mount_tells_the_file_system(folder: str, kind: str) -> None:
    assert file_system_type(TABLE, Path(folder)) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse"])
def test_file_systems_that_others_write_to_are_remote(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: f"1 1 0:1 / / rw - {kind} x rw\n")
    assert is_remote(tmp_path)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "zfs"])
def test_file_systems_of_this_machine_are_not_remote(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: f"1 1 0:1 / / rw - {kind} x rw\n")
    assert not is_remote(tmp_path)
