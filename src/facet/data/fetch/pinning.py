"""After a fetch into a repository: data.dvc pins what came, so that the chain runs on it and on nothing else.

Where DVC itself can ask the source again (a folder, a bucket), data.dvc names the source and `dvc repro` looks there
for changes; the bytes that the fetch has moved are taken as they lie, not moved again. Anything else is pinned by its
hash alone.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from facet.artifacts import DATA, whole_file
from facet.data.fetch.listing import Source
from facet.errors import FacetError


def is_raw_data(target: Path) -> bool:
    """Whether ``target`` is the raw data of a repository, the folder that its data.dvc speaks of."""
    root = target.parent
    return target.name == DATA.name and (root / "dvc.yaml").is_file() and (root / f"{DATA}.dvc").is_file()


def pin(target: Path, source: Source) -> str | None:
    """Write data.dvc for what lies in ``target``; returns the source that DVC asks from now on, or None.

    Raises FacetError, with data.dvc as it was, where DVC refuses.
    """
    root, path = target.parent, target.with_name(f"{target.name}.dvc")
    before = path.read_bytes()
    asked = source.pin(root)
    try:
        if asked is None:
            # DVC would keep the source that stands there now.
            path.unlink()
            _dvc(root, "add", target.name)
        else:
            with whole_file(path) as scratch:
                stage = {"deps": [{"path": asked}], "outs": [{"path": target.name}]}
                scratch.write_text(yaml.safe_dump(stage, sort_keys=False), encoding="utf-8")
            # Hashes both sides as they are; not frozen, so that `dvc repro` asks the source for changes.
            _dvc(root, "commit", "--force", path.name)
    except BaseException:
        path.write_bytes(before)
        raise
    return asked


def _dvc(root: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments, "--quiet"]
    done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [" ".join(line.split()) for line in done.stderr.splitlines() if line.strip()]
        # Where DVC itself breaks, its last line says why, below a traceback.
        said = lines[-1].removeprefix("ERROR: ") if lines else f"exit code {done.returncode}"
        raise FacetError(
            f"the data is there, but `dvc {' '.join(arguments)}` could not pin it ({said[-300:]}): mend that and run "
            "the same command again, or add --no-pin"
        )
