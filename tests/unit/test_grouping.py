"""Tests that cannot run beside each other are given to one worker."""

from __future__ import annotations

from grouping import scope_of


def test_tests_of_one_group_go_to_one_worker() -> None:
    """Whatever its file and its parameters, a test of a group has the group's scope."""
    assert scope_of("tests/acceptance/test_image.py::test_it_needs_no_rights") == "image"
    assert scope_of("tests/acceptance/test_image.py::test_any[with::colons]") == "image"


def test_other_tests_go_anywhere() -> None:
    """A test whose file names no group, or is not a file here, is a scope of its own."""
    for test in ("tests/unit/test_times.py::test_any[x@y]", "elsewhere/test_any.py::test_any"):
        assert scope_of(test) == test
