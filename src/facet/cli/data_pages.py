"""``facet data report`` and ``facet data diff``: what the prepared data is, and what changed between two versions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facet.artifacts import BASELINE, DATA_DOCS, FACES, REPORTS, VALIDATION, write_json
from facet.cli.options import AsJson

if TYPE_CHECKING:
    from facet.data.difference import Difference, Some
    from facet.data.profile import Drift
    from facet.data.tables import Tables

DATA_PAGE = REPORTS / "data.html"
_WORKSPACE = "the workspace"


def report(
    faces: Annotated[Path, typer.Option(help="The prepared faces.")] = FACES,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the page.")] = DATA_PAGE,
    against: Annotated[
        Path | None, typer.Option(help="Tell what moved since: a profile, or another folder of prepared faces.")
    ] = None,
    save_profile: Annotated[Path | None, typer.Option(help="Write the profile here, for --against later.")] = None,
    as_json: AsJson = False,
) -> None:
    """One page about the prepared data: samples, balance, quality, near duplicates, what was put aside and why.

    Examples: facet data report; facet data report --save-profile may.json; facet data report --against may.json
    """
    from facet.data.profile import describe, drift, read_profile
    from facet.data.tables import read_tables
    from facet.evaluation.data_page import Beside, write_data_page

    baseline = None if against is None else read_profile(against)
    tables = read_tables(faces)
    found = describe(tables)
    moved = None if baseline is None else drift(baseline, found)
    beside = Beside(VALIDATION, DATA_DOCS / "index.html") if faces == FACES else Beside()
    write_data_page(out, faces, tables, found, dataclasses.replace(beside, baseline=baseline))
    if save_profile is not None:
        write_json(save_profile, found)
    if as_json:
        told = None if moved is None else dataclasses.asdict(moved)
        print(json.dumps({"out": str(out), "profile": found, "drift": told}))
        return
    counts = {
        "face": found["count"],
        "attribute": len(found["attributes"]),
        "picture": sum(found["quarantined"].values()),
    }
    told = ", ".join(f"{count:,} {what}{'' if count == 1 else 's'}" for what, count in counts.items())
    print(f"{out}: {told} put aside.")
    if moved is not None:
        _print_drift(moved)


def accept(
    faces: Annotated[Path, typer.Option(help="The prepared faces.")] = FACES,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to keep their profile; commit it.")] = BASELINE,
    as_json: AsJson = False,
) -> None:
    """Take the prepared faces as they are: `validate` holds later ones against their profile.

    Example: facet data accept && git add metrics/baseline.json
    """
    from facet.data.profile import profile

    accepted = profile(faces)
    write_json(out, accepted)
    if as_json:
        print(json.dumps({"out": str(out), "profile": accepted}))
    else:
        print(f"{out}: the profile of {accepted['count']:,} faces; `dvc repro validate` compares with it from now on.")


def diff(
    revision_a: Annotated[str, typer.Argument(metavar="REV_A", help="A commit, tag or branch.")],
    revision_b: Annotated[
        str | None, typer.Argument(metavar="[REV_B]", help="Another; left out, the faces of the workspace.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What changed in the prepared data between two revisions: pictures, labels, splits, captions, quarantine, drift.

    Examples: facet data diff HEAD~1; facet data diff data-may data-june --json
    """
    import tempfile

    from facet.data.difference import difference
    from facet.data.profile import describe, drift

    with tempfile.TemporaryDirectory(prefix="facet-diff-") as folder:
        before = _tables(revision_a, Path(folder, "a"))
        after = _tables(revision_b, Path(folder, "b"))
    found, moved = difference(before, after), drift(describe(before), describe(after))
    named = revision_b or _WORKSPACE
    if as_json:
        content = {"before": revision_a, "after": revision_b, "difference": dataclasses.asdict(found)}
        print(json.dumps(content | {"drift": dataclasses.asdict(moved)}))
    elif found.nothing and not moved.appeared and not moved.vanished:
        print(f"{revision_a} and {named} hold the same {len(after):,} faces.")
    else:
        print(f"From {revision_a} ({len(before):,} faces) to {named} ({len(after):,}):")
        _print_difference(found)
        _print_drift(moved)


def _tables(revision: str | None, folder: Path) -> Tables:
    """Those of a revision, brought to ``folder``; of the workspace where it is None."""
    from facet.data.revisions import fetch_tables
    from facet.data.tables import read_tables

    if revision is None:
        return read_tables(FACES)
    fetch_tables(revision, folder)
    return read_tables(folder)


# --- printing ---------------------------------------------------------------------------------------------------------


def _print_difference(found: Difference) -> None:
    for name, (before, after) in found.prepared.items():
        print(f"  {name}: {before} to {after}")
    rows = [("added", found.added), ("removed", found.removed), ("other picture, same id", found.changed)]
    rows += [(f"{one.before} to {one.after}", one.faces) for one in found.moved]
    rows += [("other captions", found.recaptioned), ("another person", found.reidentified)]
    for one in found.relabelled:
        ways = ", ".join(f"{count:,} {way}" for way, count in one.ways.items())
        rows.append((f"relabelled {_plain(one.name)}: {ways}", one.faces))
    for one in found.quarantined:
        were = f" ({one.were_faces:,} of them were in the set)" if one.were_faces else ""
        rows.append((f"put aside, {_plain(one.kind)}{were}", one.pictures))
    rows.append(("no longer put aside", found.released))
    for what, some in rows:
        if some.count:
            print(f"  {some.count:>9,}  {what}: {_named(some)}")
    print(f"  {found.kept:>9,}  in both")


def _named(some: Some) -> str:
    more = ", …" if some.count > len(some.examples) else ""
    return ", ".join(map(_plain, some.examples)) + more


def _plain(text: str) -> str:
    """``text`` as one printable piece of a line: a name from the data must not command the terminal."""
    from facet.data.tables import readable

    return readable(text)


def _print_drift(moved: Drift) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for heading, rows in (
        (("attribute", "before", "after", "95 % interval of the difference", "z", ""), _share_rows(moved)),
        (("figure", "mean before", "after", "shift / std", "PSI", ""), _figure_rows(moved)),
    ):
        if rows:
            table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
            for i, name in enumerate(heading):
                table.add_column(name, justify="right" if 0 < i < 5 else "left")
            for row in rows:
                table.add_row(*map(Text, row))
            console.print(table)
    for what, names in (("appeared", moved.appeared), ("vanished", moved.vanished)):
        if names:
            print(f"attributes that {what}: {', '.join(map(_plain, names))}")


def _share_rows(moved: Drift) -> list[tuple[str, ...]]:
    """Only what differs: forty lines of no change hide the one that matters."""
    return [
        (
            _plain(one.name),
            _share(one.before),
            _share(one.after),
            "" if one.interval is None else "{:+.1%} to {:+.1%}".format(*one.interval),
            "" if one.z is None else f"{one.z:+.1f}",
            "beyond chance" if one.notable else "",
        )
        for one in moved.attributes
        if one.before != one.after
    ]


def _figure_rows(moved: Drift) -> list[tuple[str, ...]]:
    return [
        (
            one.name,
            f"{one.before:.4g}",
            f"{one.after:.4g}",
            "" if one.shift is None else f"{one.shift:+.2f}",
            f"{one.psi:.3f}",
            "" if one.level == "none" else one.level,
        )
        for one in moved.figures
        if one.psi or one.before != one.after
    ]


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"
