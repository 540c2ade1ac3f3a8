"""Files by content: each sha256 once, and directories whose files are links to them.

blobs/3f/3f9a...     a file that any number of versions share, read-only
"""

import errno
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from recsys.bundle.manifest import REMEDY
from recsys.checksums import sha256_of, sync_path
from recsys.errors import BundleError

# What a file system answers that has no links, or no more of them for this file.
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EINVAL)


class Blobs:
    """The files below `directory`; `drafts` is a folder of the same file system for unfinished ones."""

    def __init__(self, directory: Path, drafts: Path) -> None:
        self._directory, self._drafts = directory, drafts

    def path(self, sha256: str) -> Path:
        return self._directory / sha256[:2] / sha256

    def add(self, source: Path, sha256: str) -> Path:
        """The blob with the content of `source`, which is copied where it is not there yet.

        A blob that was damaged is replaced. Raises `BundleError` where the content is not that of `sha256`.
        """
        blob = self.path(sha256)
        if blob.is_file() and sha256_of(blob) == sha256:
            return blob
        blob.parent.mkdir(parents=True, exist_ok=True)
        draft = self._drafts / sha256
        shutil.copyfile(source, draft)
        found = sha256_of(draft)
        if found != sha256:
            draft.unlink()
            raise BundleError(f"{source} was altered: expected sha256 {sha256}, found {found}; {REMEDY}")
        draft.chmod(0o444)
        sync_path(draft)
        os.replace(draft, blob)
        return blob

    def place(self, blob: Path, target: Path) -> None:
        """`blob` under the name `target`: a hard link, else a symbolic link, else a copy."""
        target.parent.mkdir(parents=True, exist_ok=True)
        for link in (_hard_link, _symbolic_link):
            try:
                link(blob, target)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
            else:
                return
        shutil.copyfile(blob, target)

    def __iter__(self) -> Iterator[Path]:
        """Every blob."""
        yield from sorted(path for path in self._directory.glob("*/*") if path.is_file())

    def sweep(self, keep: Collection[str]) -> int:
        """Remove every blob but those of the sums `keep`; the number of bytes of the removed ones."""
        freed = 0
        for blob in self:
            if blob.name not in keep:
                freed += blob.stat().st_size
                blob.unlink()
        return freed


def _hard_link(blob: Path, target: Path) -> None:
    os.link(blob, target)


def _symbolic_link(blob: Path, target: Path) -> None:
    """Relative, so that the store can be moved; the version's directory gets its name by a rename later."""
    os.symlink(os.path.relpath(blob.resolve(), target.parent.resolve()), target)
