"""`pytest -m checklist` ends with a table of the items of the checklist and whether their tests pass."""

import pytest


def pytest_configure(config):
    config.stash[ITEMS] = {}


def pytest_collection_modifyitems(config, items):
    for item in items:
        names = [name for mark in item.iter_markers("checklist") for name in mark.args]
        if names:
            config.stash[ITEMS][item.nodeid] = names


ITEMS = pytest.StashKey[dict[str, list[str]]]()


def pytest_terminal_summary(terminalreporter, config):
    if "checklist" not in (config.option.markexpr or ""):
        return
    outcome = {}
    for word in ("passed", "skipped", "failed", "error"):
        for report in terminalreporter.stats.get(word, ()):
            for name in config.stash[ITEMS].get(report.nodeid, ()):
                outcome.setdefault(name, []).append(word)
    terminalreporter.section("checklist")
    for name in sorted(outcome, key=lambda n: (n[0], int("".join(c for c in n if c.isdigit())), n)):
        words = outcome[name]
        bad = [word for word in words if word in ("failed", "error")]
        good = words.count("passed")
        verdict = "NOT shown: " + (f"{len(bad)} failed" if bad else "all skipped")
        terminalreporter.write_line(f"{name:<5} {good:>4} passed  {'shown' if good and not bad else verdict}")
