"""Google's Cartoon Set: each variant of a trait is an attribute."""

from __future__ import annotations

import pytest

from facet.data.layouts import read_raw
from facet.errors import DataError
from tests import raw_sets


def test_each_variant_that_an_avatar_has_is_an_attribute(tmp_path):
    raw_sets.cartoon(tmp_path)
    raw = read_raw(tmp_path)
    assert raw.ids == tuple(f"cartoonset10k/cs{k}.png" for k in (1234, 1235, 1236))
    assert raw.names == ("face_shape_0", "glasses_0", "glasses_1", "glasses_2", "hair_color_0", "hair_color_1")
    assert raw.attributes.tolist() == [[1, 1, -1, -1, 1, -1], [1, -1, 1, -1, -1, 1], [1, -1, -1, 1, 1, -1]]
    assert [raw.read(name) for name in raw.ids] == [raw_sets.picture(k) for k in range(3)]


def test_unpacked_it_is_the_same(tmp_path):
    raw_sets.write(tmp_path / "cs1.png", raw_sets.picture(1))
    raw_sets.write(tmp_path / "cs1.csv", '"hair", 110, 111\n')
    raw_sets.write(tmp_path / "cs2.png", raw_sets.picture(2))
    raw = read_raw(tmp_path)
    assert (raw.layout, raw.ids, raw.names) == ("cartoon-set", ("cs1.png",), ("hair_110",))


@pytest.mark.parametrize(
    "rows",
    ["hair, 1\n", "hair, x, 3\n", "hair, -1, 3\n", "hair, ٣, 4\n", "hair, 1, 3\nhair, 2, 3\n", "hair, 1000, 3\n"],
)
def test_a_table_of_another_form_names_its_line(rows, tmp_path):
    raw_sets.write(tmp_path / "cs1.png", raw_sets.picture(1))
    raw_sets.write(tmp_path / "cs1.csv", rows)
    with pytest.raises(DataError, match=r"cs1\.csv, line [12]: .*expected each trait once as name, variant, count"):
        read_raw(tmp_path)


def test_an_avatar_without_traits_is_no_avatar(tmp_path):
    raw_sets.write(tmp_path / "cs1.png", raw_sets.picture(1))
    raw_sets.write(tmp_path / "cs1.csv", "")
    with pytest.raises(DataError, match="holds no trait"):
        read_raw(tmp_path)
