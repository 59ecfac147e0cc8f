"""What holds for every test: the checkout's products are left alone, and the end says what was skipped and why."""

import os

import pytest

from tests.checkout import watch
from tests.debian import left_out

CHECKOUT = watch()
LABEL = "tests/label/"


def pytest_configure(config):
    """Where tests are run in parallel, this process only starts those that run them."""
    if config.getoption("numprocesses", None):
        CHECKOUT.asleep = True


def pytest_collection_modifyitems(config, items):
    """In parallel, files with slow tests come first, so that the processes end at about the same time."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests share fixtures, and those of tests/label/ their servers: each such lot has one process."""
    from xdist.scheduler import LoadFileScheduling

    class Lots(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return LABEL if nodeid.startswith(LABEL) else super()._split_scope(nodeid)

    return Lots(config, log)


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
