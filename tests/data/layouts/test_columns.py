"""Each meaning that the values of a column can have."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from facet.data.layouts.cells import Builder, Part, Table, cell_of, merge
from facet.data.layouts.columns import Known, captions_of, interpret, is_caption
from facet.data.raw import LANDMARKS
from facet.errors import DataError
from tests.raw_sets import POINTS


def table_of(columns: dict[str, list], where: str = "faces.csv") -> Table:
    built = {}
    for name, values in columns.items():
        builder = Builder()
        for value in values:
            builder.add(cell_of(value))
        built[name] = builder.done()
    return Table(where, len(next(iter(columns.values()))), built)


def known(columns: dict[str, list]) -> Known:
    table = table_of(columns)
    return interpret(merge([Part(table, np.arange(table.count))], table.count, is_caption), table.count, "raw")


@pytest.mark.parametrize(
    ("values", "states"),
    [
        ([1, 0, 1], [1, -1, 1]),
        (["1", "-1", "0"], [1, -1, 0]),
        ([-1, -1, 0], [-1, -1, 0]),
        (["1.0", "0.0", ""], [1, -1, 0]),
        (["1.0", "-1.0", "0.0"], [1, -1, 0]),
        ([1.0, 0.0, float("nan")], [1, -1, 0]),
        ([True, False, None], [1, -1, 0]),
        (["TRUE", "False", "NA"], [1, -1, 0]),
        (["yes", "No", "?"], [1, -1, 0]),
        (["y", "n", "null"], [1, -1, 0]),
        (["present", "absent", "Unknown"], [1, -1, 0]),
        (["1", "", ""], [1, 0, 0]),
        (["yes", "0", "NaN"], [1, -1, 0]),
    ],
)
def test_words_for_present_absent_and_unknown(values, states):
    found = known({"Smiling": values})
    assert found.names == ("Smiling",)
    assert found.attributes.dtype == np.int8
    assert found.attributes[:, 0].tolist() == states


def test_text_of_a_few_values_is_an_attribute_a_value():
    found = known({"hair": ["fair", "black", "", "unknown", "fair"]})
    assert found.names == ("hair_black", "hair_fair")
    assert found.attributes.tolist() == [[-1, 1], [1, -1], [0, 0], [0, 0], [-1, 1]]


@pytest.mark.parametrize("title", ["label", "Labels", "class"])
def test_a_column_that_calls_itself_classes_gives_them_their_own_names(title):
    assert known({title: ["cat", "dog", "cat"]}).names == ("cat", "dog")
    found = known({title: ["10", "9.0", "9.0"]})
    assert found.names == ("9", "10")
    assert found.attributes.tolist() == [[-1, 1], [1, -1], [1, -1]]


def test_a_label_of_two_numbers_is_two_classes():
    assert known({"label": [0, 1, 0]}).attributes.tolist() == [[1, -1], [-1, 1], [1, -1]]


@pytest.mark.parametrize(
    "values",
    [
        [str(k) for k in range(20, 80)],
        ["1.5", "2", "3"],
        ["-7", "3", "1"],
        [f"word {k}" for k in range(51)],
        ["", "", ""],
        ["nan", "?", "unknown"],
        [["a", "b"], ["c"], None],
    ],
    ids=["ages", "fractions", "whole", "many words", "empty", "unknown", "lists"],
)
def test_what_nobody_could_ask_for_is_left_out_with_a_warning(values):
    with pytest.warns(UserWarning, match=r"raw: no attribute can be made of 'odd'") as caught:
        found = known({"odd": values, "Male": [1] * len(values)})
    assert found.names == ("Male",)
    assert len(caught) == 1


def test_fifty_words_are_few_enough():
    assert len(known({"job": [f"word {k}" for k in range(50)]}).names) == 50


def test_only_six_columns_left_out_are_counted_not_all_named():
    with pytest.warns(UserWarning, match=r"'e' and others"):
        known({name: ["1.5", "2.5"] for name in "abcdef"})


@pytest.mark.parametrize("value", ["=HYPERLINK(1)", "@SUM(1)", "+cmd|' /C calc'!A0", "-2+3", "-cat"])
@pytest.mark.parametrize("title", ["hair", "label"])
def test_what_a_spreadsheet_would_run_is_one_sentence(title, value):
    with pytest.raises(DataError, match=rf"faces\.csv, row 2, column {title}: .* looks like a formula"):
        known({title: ["fair", value]})


@pytest.mark.parametrize("columns", [{"Male": [1], "male": [0]}, {"hair": ["fair"], "hair_fair": ["yes"]}])
def test_columns_that_would_be_one_attribute_are_refused(columns):
    with pytest.raises(DataError, match=r"raw: .* are both attribute"):
        known(columns)


@pytest.mark.parametrize("title", ["split", "Partition", "SUBSET"])
def test_splits_by_word_or_number(title):
    found = known({title: ["Train", "val", "TEST", "", "0", "1.0", "2", "dev", "nan"]})
    assert found.splits.tolist() == [0, 1, 2, -1, 0, 1, 2, 1, -1]
    assert found.names == ()


@pytest.mark.parametrize("value", ["holdout", "3", "-1", "²"])
def test_a_split_that_is_none_is_one_sentence(value):
    with pytest.raises(DataError, match=r"faces\.csv, row 2, column split: .* expected train, valid or test"):
        known({"split": ["train", value]})


def test_identities_are_the_same_however_they_are_written():
    by_number = known({"celeb_id": [5, 6, 5, None]}).identities
    by_text = known({"Person": ["5", "6.0", "5.0", "unknown"]}).identities
    assert by_number.tolist() == by_text.tolist()
    assert by_number[0] == by_number[2] != by_number[1]
    assert by_number[3] == -1
    assert (by_number[:3] >= 0).all()


def test_nobody_is_not_a_person():
    assert known({"identity": ["-1", "nan", "?", ""]}).identities.tolist() == [-1] * 4


def test_identities_keep_their_case():
    found = known({"subject": ["ann", "Ann"]}).identities
    assert found[0] != found[1]


def test_landmarks_need_all_ten_columns():
    columns = {name: [k, k + 0.5, ""] for k, name in enumerate(POINTS)}
    found = known(columns)
    assert found.landmarks.shape == (3, len(LANDMARKS), 2)
    assert found.landmarks.dtype == np.float32
    assert found.landmarks[1].ravel().tolist() == [k + 0.5 for k in range(10)]
    assert np.isnan(found.landmarks[2]).all()
    columns.pop("nose_x")
    with pytest.warns(UserWarning, match="no attribute can be made of"):
        assert known(columns).landmarks is None


@pytest.mark.parametrize("value", ["left", "inf", "1e9"])
def test_a_landmark_that_is_no_place_is_one_sentence(value):
    columns = {name: [1, 2] for name in POINTS} | {"nose_y": [3, value]}
    with pytest.raises(DataError, match=r"faces\.csv, row 2: landmark .* expected a place in pixels"):
        known(columns)


def test_captions_come_from_columns_rows_and_lists():
    table = table_of(
        {
            "caption": ["a  face\n", "", "=not a formula here"],
            "text_2": ["two", "three", ""],
            "prompts": [["x", "", "y"], None, []],
            "context": ["no caption"] * 3,
        }
    )
    found = captions_of([Part(table, np.array([0, 0, 1]))], 3)
    assert found == (("a face", "two", "three", "x", "y"), ("=not a formula here",), ())
    assert captions_of([Part(table_of({"hair": ["fair"]}), np.array([0]))], 1) == ()


def test_rows_of_one_picture_may_agree_or_leave_cells_open():
    first = Part(table_of({"Male": [1, "", 0]}), np.array([0, 0, 1]))
    second = Part(table_of({"Male": ["", 1], "hat": [1, 0]}, "more.csv"), np.array([1, 0]))
    found = interpret(merge([first, second], 2, is_caption), 2, "raw")
    assert found.attributes.tolist() == [[1, -1], [-1, 1]]


def test_rows_of_one_picture_that_differ_are_one_sentence():
    part = Part(table_of({"hat": [1, 1, 1], "Male": ["", 1, 0]}), np.array([0, 1, 1]))
    with pytest.raises(DataError, match=r"faces\.csv, row 2, column Male: another row of the same picture says some"):
        merge([part], 2, is_caption)


def test_nothing_is_said_of_what_is_read():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known({"Male": [1, 0], "split": ["train", "test"], "person": ["a", "b"], "text": ["x", "y"]})
