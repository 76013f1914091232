"""params.yaml is read strictly: what is wrong is named, with where it stands and what was meant."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import pytest

from facet.errors import ParamsError
from facet.params import Between, build, load_yaml, read_section, read_seed
from facet.sections import check_file
from tests import tiny


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float


@dataclasses.dataclass(frozen=True)
class Section:
    size: Annotated[int, Between(16, 1024)]
    crop: Literal["celeba-148", "square"]
    share: Annotated[float, Between(0)]
    on: bool
    widths: tuple[Annotated[int, Between(1)], ...]
    name: str | None
    inner: Inner

    def __post_init__(self) -> None:
        if self.size % 16:
            raise ValueError(f"size is {self.size}, expected a multiple of 16")


GOOD = {
    "size": 64,
    "crop": "square",
    "share": 0.5,
    "on": True,
    "widths": [1, 2],
    "name": None,
    "inner": {"rate": 0.1},
}


def read(content: dict) -> Section:
    return build(Section, content, where="section", source="params.yaml")


def test_a_sound_section_becomes_its_dataclass():
    assert read(GOOD) == Section(64, "square", 0.5, True, (1, 2), None, Inner(0.1))


@pytest.mark.parametrize("written", ["1e-3", "1E-3", 0.001])
def test_a_number_that_yaml_takes_for_text_is_a_number(written):
    """YAML 1.1 reads 1e-3 as text, DVC's YAML 1.2 as a number."""
    assert read(GOOD | {"share": written}).share == 0.001


def test_a_whole_number_will_do_for_a_float_and_not_the_other_way_round():
    assert isinstance(read(GOOD | {"share": 1}).share, float)
    with pytest.raises(ParamsError, match=r"section\.size is 64\.0 \(a number\), expected int"):
        read(GOOD | {"size": 64.0})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": 8}, r"section\.size is 8, expected between 16 and 1024"),
        ({"size": 40}, "expected a multiple of 16"),
        ({"size": "64"}, r"section\.size is '64' \(text\), expected int"),
        ({"size": True}, r"section\.size is True \(a boolean\), expected int"),
        ({"size": None}, r"section\.size is None \(nothing\), expected int"),
        ({"crop": "squared"}, r"section\.crop is 'squared', expected one of .* did you mean square\?"),
        ({"share": -0.1}, r"section\.share is -0\.1, expected at least 0"),
        ({"share": float("nan")}, r"section\.share is nan"),
        ({"share": "much"}, r"section\.share is 'much' \(text\), expected float"),
        ({"on": 1}, r"section\.on is 1 \(an integer\), expected bool"),
        ({"widths": [1, 0]}, r"section\.widths\[1\] is 0, expected at least 1"),
        ({"widths": 3}, r"section\.widths is an integer, expected a list"),
        ({"name": 3}, r"section\.name is 3 \(an integer\), expected str"),
        ({"inner": {"rate": "x"}}, r"section\.inner\.rate is 'x'"),
        ({"inner": {"rat": 0.1}}, r"unknown key section\.inner\.rat: did you mean rate\?"),
        ({"inner": 3}, r"section\.inner is an integer, expected keys and values"),
        ({"sise": 64}, r"unknown key section\.sise: did you mean size\?"),
        ({"zzzzzz": 64}, r"unknown key section\.zzzzzz: remove it"),
    ],
)
def test_what_is_wrong_is_named(changes, says):
    with pytest.raises(ParamsError, match=says):
        read(GOOD | changes)


def test_every_problem_is_in_one_message():
    with pytest.raises(ParamsError) as caught:
        read({"sise": 64, "crop": "x", "share": -1, "on": "yes", "widths": [0], "inner": {}})
    said = str(caught.value)
    for part in ("section.sise", "section.size is missing", "section.crop", "section.share", "section.on"):
        assert part in said
    for part in ("section.widths[0]", "section.name is missing", "section.inner.rate is missing"):
        assert part in said
    assert said.count("params.yaml") == 1
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prepare:\n  size: [64\ncrop: x\n", r"params\.yaml, line 3, column 5 is not valid YAML"),
        ("prepare:\n\tsize: 64\n", r"params\.yaml, line 2"),
        ("seed: 0\nseed: 1\n", r"params\.yaml, line 2: 'seed' is given twice"),
        ("prepare:\n  size: 1\n  size: 2\n", r"line 3: 'size' is given twice"),
        ("- a\n", "holds a list, expected sections"),
        ("", "holds nothing, expected sections"),
        ("a: !!python/object/apply:os.system ['touch owned']\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_params_file_is_named_with_its_line(text, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=says):
        load_yaml()
    assert not (tmp_path / "owned").exists()


def test_a_missing_file_says_where_to_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=r"params\.yaml does not exist: run from the repository's root"):
        load_yaml()


def test_a_file_in_another_encoding_is_a_sentence(tmp_path):
    (tmp_path / "p.yaml").write_bytes("name: \xe4".encode("latin-1"))
    with pytest.raises(ParamsError, match="not UTF-8"):
        load_yaml(tmp_path / "p.yaml")


def test_a_missing_section_names_the_closest(tmp_path):
    (tmp_path / "p.yaml").write_text("prepair: {}\n")
    with pytest.raises(ParamsError, match=r"no section 'prepare': did you mean prepair\?"):
        read_section("prepare", Section, tmp_path / "p.yaml")


@pytest.mark.parametrize("seed", ["", "-1", "1.5", "true", "x"])
def test_a_seed_is_a_natural_number(seed, tmp_path):
    (tmp_path / "p.yaml").write_text(f"seed: {seed}\n")
    with pytest.raises(ParamsError, match="seed is"):
        read_seed(tmp_path / "p.yaml")


def test_a_whole_file_is_checked_at_once(tmp_path):
    content = tiny.chain_params()
    tiny.write_params(tmp_path, content)
    assert "train_unet" in check_file(tmp_path / "params.yaml")
    content["train_unte"] = content.pop("train_unet")
    content["prepare"]["size"] = 40
    content["sample"]["count"] = 0
    tiny.write_params(tmp_path, content)
    with pytest.raises(ParamsError) as caught:
        check_file(tmp_path / "params.yaml")
    for part in ("unknown section train_unte: did you mean train_unet", "multiple of 16", "sample.count is 0"):
        assert part in str(caught.value)
