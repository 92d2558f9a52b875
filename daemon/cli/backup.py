"""`medalliond backup`: a consistent copy of a root while a daemon works in it; the copy is a root itself."""

from pathlib import Path

from daemon.audit.copying import RootCopy
from daemon.cli.inventory import open_inventory
from daemon.cli.output import on_terminal, print_json, print_line, printable, size
from daemon.cli.progress import bytes_done
from daemon.cli.roots import WrongRequestError, open_root
from daemon.lake.durable import make_directories, remove_tree
from daemon.lake.layout import Layout


def back_up(root: Path, folder: Path, *, as_json: bool) -> None:
    """Copy a root into `folder` and say what was copied; what a failure leaves is removed."""
    layout, copy = open_root(root), Layout(folder.absolute())
    _refuse(layout, copy)
    with open_inventory(layout) as inventory:
        total = inventory.bytes()
    make_directories(copy.root, 0o750)
    try:
        with bytes_done("copying", total) as tell:
            copied = RootCopy(layout, copy, tell).run()
    except BaseException:
        for path in copy.root.iterdir():
            remove_tree(path)
        raise
    if as_json:
        print_json(
            {
                "root": str(layout.root),
                "backup": str(copy.root),
                "files": copied.files,
                "rows": copied.rows,
                "bytes": copied.bytes,
            }
        )
        return
    print_line(
        printable(
            f"{copy.root}: {copied.rows} rows in all layers, {copied.files} files ({size(copied.bytes)})"
        )
    )
    if on_terminal():
        print_line(printable(f"`medalliond verify --root {copy.root}` proves it."))


def _refuse(layout: Layout, copy: Layout) -> None:
    """Raise WrongRequestError where the copy would meet other files."""
    if copy.root.resolve().is_relative_to(layout.root.resolve()):
        raise WrongRequestError(
            f"{copy.root}: a backup cannot lie in the root it is of; name a folder outside."
        )
    if copy.root.exists() and (not copy.root.is_dir() or any(copy.root.iterdir())):
        raise WrongRequestError(f"{copy.root}: is not empty; name a new folder, or an empty one.")
