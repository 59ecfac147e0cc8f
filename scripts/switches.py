"""Switches of a command: true or false, as JSON and Python spell them; fire alone takes `--check false` for a text."""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import fire
from fire.decorators import SetParseFns

fire.decorators.FIRE_METADATA = "_FIRE_METADATA"  # what begins otherwise, --help lists as a value of the command

WORDS = {"true": True, "false": False}


def with_switches(command: Callable[..., Any], **others: Callable[[str], Any]) -> Callable[..., Any]:
    """`command`, for fire: its parameters that are true or false by default take nothing else.

    `others` read other parameters, by name.
    """
    parameters = inspect.signature(command).parameters.values()
    switches = {each.name: partial(switch, each.name) for each in parameters if isinstance(each.default, bool)}
    return SetParseFns(**switches, **others)(command)


def switch(name: str, word: str | bool) -> bool:
    """What a switch was given.

    Raises:
        SystemExit: it is neither true nor false.
    """
    if isinstance(word, bool):
        return word
    if word.lower() not in WORDS:
        sys.exit(f"--{name}: found {word}; wanted true or false.")
    return WORDS[word.lower()]
