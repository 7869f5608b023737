"""Whether a large source is as it was when it was listed, without listing it again."""

import json
import os
from pathlib import Path

from alexnet_exp.config.data import DataConfig
from alexnet_exp.data.sources.source import FileSource, Source, parameters

LARGE = 100_000
"""Files from which on a listing is remembered: to list that many takes more than a second."""

_SETTLED = 2 * 10**9  # ns; a folder that changed later than this may change again unseen


def remember_listing(path: Path, source: Source, config: DataConfig) -> None:
    """Record beside a large source's store (or an archive's) when its folders last changed.

    Not where one changed within two seconds of the listing, or the store cannot be written.
    """
    if not isinstance(source, FileSource) or source.root is None:
        return  # nothing was listed
    files = source.files
    if len(files.sizes) < LARGE and not source.is_archive:
        return
    if max(files.changed.values()) > files.listed_at - _SETTLED:
        return
    record = {
        "fingerprint": source.fingerprint,
        "parameters": parameters(config),
        "changed": files.changed,
    }
    partial = path / f"listing.json.{os.getpid()}"
    try:
        partial.write_text(json.dumps(record))
        os.replace(partial, path / "listing.json")
    except OSError:
        partial.unlink(missing_ok=True)


def is_unchanged(path: Path, fingerprint: str, config: DataConfig) -> bool:
    """Whether no folder of the source, or its archive, has changed since it was listed.

    This costs one ``stat`` a folder instead of one a file: ImageNet has 2,000 and 1.33 million. A
    folder changes whenever a file in it is added, removed or renamed. What this cannot see is a
    file overwritten in place with other content, or one behind a link: after such a change, delete
    the store's listing.json (or the store).
    """
    try:
        record = json.loads((path / "listing.json").read_text())
        if record["fingerprint"] != fingerprint or record["parameters"] != parameters(config):
            return False
        root = record["parameters"]["root"]
        changed: dict[str, int] = record["changed"]
        return all(
            os.stat(os.path.join(root, folder) if folder else root).st_ctime_ns == when
            for folder, when in changed.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
