"""Errors, grouped by what the caller must do: try again later, reject this data, wait for a person, halt.

The ground below every room. Each class docstring says when it is raised; each message is addressed to a
person and names the file, the record, the reason and the next step where they are known.
"""

import errno
import re


class MedalliondError(Exception):
    """The root of every error this program raises on purpose."""


class RetryLaterError(MedalliondError):
    """The machine's fault (disk full, I/O error, too many files, memory): the data is innocent, try again later."""


class RejectDataError(MedalliondError):
    """This file or these records are bad: set them aside with `reason` and go on with the others.

    `kind` is a stable snake_case word for the sort of damage, e.g. `unreadable`, `empty`, `check_failed`.
    """

    def __init__(self, reason: str, *, kind: str = "unreadable") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild with the keyword: the error crosses process borders by pickle."""
        return _rebuild_reject, (self.reason, self.kind)


class ContractError(MedalliondError):
    """A contract or a transform is wrong: park what needs it until a person has edited it."""


class SharedFileError(MedalliondError):
    """Rows of older batches must change that share their file with others: they are to be taken out of it first."""

    def __init__(self, batch_ids: frozenset[str]) -> None:
        super().__init__(batch_ids)
        self.batch_ids = batch_ids


class HaltError(MedalliondError):
    """The daemon cannot go on safely (second daemon, unusable ledger): stop at once and say the way out."""


def _rebuild_reject(reason: str, kind: str) -> RejectDataError:
    return RejectDataError(reason, kind=kind)


_DAMAGED_PARQUET = ("parquet: ", "it has no Parquet footer", "a Parquet footer ")
"""How Polars, and our own look at footers, begin to say that a Parquet file is none, or damaged."""
_OS_ERROR_IN_TEXT = re.compile(r"\(os error (\d+)\)")


def gist(error: BaseException) -> str:
    """What an error says, without the query plan that Polars appends to it after a blank line."""
    return str(error).partition("\n\n")[0].strip()


def is_machine_fault(error: BaseException) -> bool:
    """Whether `error` is the machine's fault rather than the data's.

    Whatever the kernel refused is not the data's fault: a full disk as little as a permission. But for an argument that
    makes no sense to it (EINVAL): that is a place in the file that a damaged file named. Polars reports it as
    ComputeError "… (os error 28)" with errno None, so the text is read as well; and it raises OSError without either for
    damaged compressed data, which is the data's.
    """
    if isinstance(error, RetryLaterError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno != errno.EINVAL
    told = _OS_ERROR_IN_TEXT.search(str(error))
    return told is not None and int(told[1]) != errno.EINVAL


def is_machine_fault_above_staged(error: BaseException) -> bool:
    """The same where what is read are layer files: they are our own, and one that is damaged is not the data's fault."""
    return is_machine_fault(error) or gist(error).startswith(_DAMAGED_PARQUET)
