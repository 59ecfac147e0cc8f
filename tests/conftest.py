"""What holds for every test: the checkout's products are left alone, and the end says what was skipped and why."""

import os

import pytest

from tests.checkout import watch
from tests.debian import left_out

CHECKOUT = watch()


@pytest.fixture(autouse=True, scope="session")
def elsewhere(tmp_path_factory):
    """Tests work in an empty folder, so that no relative path leads into the checkout."""
    os.chdir(tmp_path_factory.mktemp("elsewhere"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown():
    """A test that touched them fails, even where somebody caught the refusal."""
    try:
        return (yield)
    finally:
        if told := CHECKOUT.told():
            pytest.fail(f"The checkout's products were touched: {told}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop():
    """After the last test, pytest itself returns to where it was started."""
    try:
        return (yield)
    finally:
        CHECKOUT.asleep = True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """The last lines before pytest's own say what was skipped for want of which program, and how to have it."""
    result = yield
    skipped = terminalreporter.stats.get("skipped", [])
    if lines := left_out((each.nodeid, each.longrepr[-1]) for each in skipped):  # of file, line and reason
        terminalreporter.section("skipped for want of programs")
        for line in lines:
            terminalreporter.write_line(line)
    return result
