"""The sources as commands: their options beside the engine's, as the documentation calls them."""

import inspect
import re
from pathlib import Path

import pytest
from fire.helptext import HelpText

from bundle.data.nih_tables import age_in_years
from bundle.data.sources.all import SOURCES
from bundle.data.sources.command import source_command
from scripts.dicom_node import discard
from scripts.prepare_datalist import commands

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", SOURCES)
def test_a_command_has_the_sources_options_and_the_engines(name):
    command = source_command(SOURCES[name])
    options = list(inspect.signature(command).parameters)
    assert options[:2] == ["images", "output"]
    assert {"allow_missing", "findings", "seed", *inspect.signature(SOURCES[name]).parameters} < set(options)
    for option in options:
        assert re.search(rf"^    {option}: ", command.__doc__, re.MULTILINE), option


def test_the_documentation_has_a_command_of_each_source():
    text = (ROOT / "docs" / "data.md").read_text()
    for name, command in commands().items():
        (line,) = re.findall(rf"python -m scripts\.prepare_datalist {name} (.*)", text)
        assert set(re.findall(r"--(\w+)", line)) <= set(inspect.signature(command).parameters), name


def test_an_age_may_have_a_unit():
    assert (age_in_years("058Y"), age_in_years("006M")) == (58, 0.5)


def test_help_has_the_options_and_nothing_of_fires_own():
    for command in (commands()["table"], discard):
        text = HelpText(command)
        assert "FLAGS" in text
        assert "METADATA" not in text
