"""The chain tells of every edit, and the file is a copy that only grows."""

from __future__ import annotations

import dataclasses
import json

import pytest

from facet.errors import RegistryError
from facet.registry.history import GENESIS, Entry, HistoryFile, Line, read_chain


def entry(number: int, previous: str, target: int | None, **changes) -> Entry:
    given = {
        "number": number,
        "previous": previous,
        "id": f"id{number}-{target}",
        "when": "2026-11-21T12:00:00+00:00",
        "who": "ann@here",
        "model": "faces",
        "alias": "staging",
        "action": "promote",
        "from_version": None,
        "to_version": target,
        "decision": "passed",
        "reason": "",
        "findings": ({"rule": "card", "passed": True},),
        "model_digest": "aa",
        "record_digest": "bb",
    }
    return Entry(**given | changes)


def chain(*targets: int | None, **changes) -> list[Line]:
    """Lines of a sound history in which staging went to each of ``targets``; an applied one each."""
    lines: list[Line] = []
    for number, target in enumerate(targets, 1):
        previous = read_chain(lines).head[1]
        text = entry(number, previous, target, **changes).text()
        lines.append(Line(number, text, read_chain([*lines, Line(number, text)]).head[1]))
    return lines


def edited(line: Line, **changes) -> Line:
    return dataclasses.replace(line, text=json.dumps(json.loads(line.text) | changes))


def test_a_sound_chain_has_no_faults_and_knows_who_holds_what():
    history = read_chain(chain(1, 2, 3))
    assert history.faults == ()
    assert history.aliases() == {"staging": 3}
    assert history.head[0] == 3
    assert history.unapplied() == []
    assert read_chain([]).head == (0, GENESIS)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_edited_entry_breaks_the_chain_wherever_it_is(at):
    lines = chain(1, 2, 3)
    lines[at] = edited(lines[at], who="nobody@here")
    assert any(f"entry {place}" in fault for fault in read_chain(lines).faults for place in (at + 1, at + 2))


def test_an_edited_last_entry_tells_even_when_its_mark_is_gone_from_the_entry_after_it():
    lines = chain(1, 2, 3)
    lines[1] = dataclasses.replace(edited(lines[1], to_version=9), applied=None)
    assert read_chain(lines).faults


def test_removed_and_reordered_entries_are_found():
    lines = chain(1, 2, 3)
    assert read_chain([lines[0], lines[2]]).faults[0] == "entry 2 is missing"
    swapped = [lines[0], dataclasses.replace(lines[2], place=2), dataclasses.replace(lines[1], place=3)]
    assert read_chain(swapped).faults
    assert read_chain([dataclasses.replace(lines[0], text="{")]).faults == ("entry 1 can't be read (JSONDecodeError)",)


def test_who_was_too_late_is_in_the_chain_and_counts_for_nothing():
    lines = chain(1)
    head = read_chain(lines).head[1]
    lines += [Line(2, entry(2, head, 2).text()), Line(3, entry(2, head, 3).text())]
    history = read_chain(lines)
    assert history.faults == ()
    assert [record.lost for record in history.records] == [False, False, True]
    assert history.current("staging") == 2
    after = Line(4, entry(4, history.head[1], 1).text())
    assert read_chain([*lines, after]).faults == ()
    assert read_chain([*lines[:2], edited(lines[2], who="x"), after]).faults  # it can't be edited either


def test_rollbacks_walk_back_through_what_was_there():
    lines = chain(1, 2, 3)
    assert read_chain(lines).before("staging") == 2
    for target, then in ((2, 1), (1, None)):
        number, previous = read_chain(lines).head
        lines.append(Line(number + 1, entry(number + 1, previous, target, action="rollback").text()))
        assert read_chain(lines).before("staging") == then
    number, previous = read_chain(lines).head
    lines.append(Line(number + 1, entry(number + 1, previous, 4).text()))
    assert read_chain(lines).before("staging") == 1  # not 3: that was rolled back
    assert read_chain([]).before("staging") is None


def test_the_file_catches_up_and_appends_only(tmp_path):
    file, lines = HistoryFile(tmp_path / "runs/registry/faces.jsonl"), chain(1, 2, 3)
    file.catch_up(read_chain(lines[:1]))
    first = file.path.read_bytes()
    file.catch_up(read_chain(lines))
    assert file.path.read_bytes().startswith(first)
    assert file.read() == [line.text for line in lines]
    before = file.path.read_bytes()
    file.catch_up(read_chain(lines))
    assert file.path.read_bytes() == before


def test_a_line_cut_short_by_a_kill_is_written_again(tmp_path):
    file, lines = HistoryFile(tmp_path / "faces.jsonl"), chain(1, 2)
    file.catch_up(read_chain(lines))
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:-40])
    assert len(file.read()) == 1
    file.catch_up(read_chain(lines))
    assert file.path.read_bytes() == whole


def test_file_and_mlflow_that_disagree_are_left_alone(tmp_path):
    file, lines = HistoryFile(tmp_path / "faces.jsonl"), chain(1, 2, 3)
    file.catch_up(read_chain(lines))
    before = file.path.read_bytes()
    rewritten = chain(1, 2, 9)  # digests and all
    assert read_chain(rewritten).faults == ()
    assert file.differences(read_chain(rewritten)) == [f"entry 3 differs between {file.path} and MLflow"]
    assert file.differences(read_chain(lines[:2])) == [f"entry 3 is in {file.path}, but not in MLflow"]
    for other in (rewritten, lines[:2], []):
        with pytest.raises(RegistryError, match=r"not what it was .*: run `facet audit`"):
            file.catch_up(read_chain(other))
    assert file.path.read_bytes() == before


def test_an_edited_file_is_found(tmp_path):
    file, lines = HistoryFile(tmp_path / "faces.jsonl"), chain(1, 2, 3)
    file.catch_up(read_chain(lines))
    file.path.write_text(file.path.read_text().replace("ann@here", "bob@here", 1))
    assert any("entry 1 differs" in fault for fault in file.differences(read_chain(lines)))


def test_a_folder_that_can_not_be_written_is_one_sentence(tmp_path):
    (tmp_path / "runs").write_text("a file, not a folder")
    with pytest.raises(RegistryError, match="can't be written"):
        HistoryFile(tmp_path / "runs/registry/faces.jsonl").catch_up(read_chain(chain(1)))
