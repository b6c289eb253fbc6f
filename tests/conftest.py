"""Shared fixtures; `pytest -m checklist` ends with a table of the checklist and whether its tests pass."""

import sys

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        names = [name for mark in item.iter_markers("checklist") for name in mark.args]
        # A property travels with the report, from another process too.
        item.user_properties += [("checklist", name) for name in names]


def pytest_terminal_summary(terminalreporter, config):
    if "checklist" not in (config.option.markexpr or ""):
        return
    outcome = {}
    for word in ("passed", "skipped", "failed", "error"):
        for report in terminalreporter.stats.get(word, ()):
            for key, name in getattr(report, "user_properties", ()):
                if key == "checklist":
                    outcome.setdefault(name, []).append(word)
    terminalreporter.section("checklist")
    for name in sorted(outcome, key=lambda n: (n[0], int("".join(c for c in n if c.isdigit())), n)):
        words = outcome[name]
        bad = [word for word in words if word in ("failed", "error")]
        good = words.count("passed")
        verdict = "NOT shown: " + (f"{len(bad)} failed" if bad else "all skipped")
        terminalreporter.write_line(f"{name:<5} {good:>4} passed  {'shown' if good and not bad else verdict}")


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory):
    """Compiled code of a file's tests goes to a folder of its own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WFLOW_CACHE", str(folder))
        yield folder


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty checkout that one stands in: files go to its `experiments`."""
    (tmp_path / "experiments").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    return tmp_path
