"""Which words are aliases, and who moves them."""

from __future__ import annotations

import socket

import pytest

from facet.errors import RegistryError
from facet.registry.transaction import actor, alias_name


@pytest.mark.parametrize(
    ("word", "alias"),
    [("Staging", "staging"), ("STAGING", "staging"), ("Production", "production"), ("ship-it_2", "ship-it_2")],
)
def test_the_old_stages_words_are_aliases(word, alias):
    assert alias_name(word) == alias


@pytest.mark.parametrize("word", ["Archived", "None", "latest", "v12", "a b", "", "a/b", "é"])
def test_words_that_can_not_be_aliases_are_refused(word):
    with pytest.raises(RegistryError, match=r"is no alias|can't be an alias"):
        alias_name(word)


def test_who_acts(monkeypatch):
    monkeypatch.setenv("FACET_ACTOR", "nightly")
    assert actor() == "nightly"
    monkeypatch.delenv("FACET_ACTOR")
    assert actor().endswith(f"@{socket.gethostname()}")
