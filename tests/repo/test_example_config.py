from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tracewatchd.settings import RELOADED, SETTINGS, Setting, Settings, load

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
NOWHERE = {"TRACEWATCHD_SECRETS_DIR": "no-such-directory"}


def uncommented() -> str:
    """The example with every setting switched on; prose stands behind `# `, a setting directly behind `#`."""
    return re.sub(r"(?m)^#(?=[a-z_]+ = )", "", EXAMPLE.read_text(encoding="utf-8"))


def explanations() -> dict[str, str]:
    """By key, the prose above each setting, its line ends undone."""
    found: dict[str, str] = {}
    section, prose = "", ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("# "):
            prose += line[2:].strip() + " "
        elif line.startswith("#") and " = " in line:
            found[f"{section}.{line[1:].partition(' = ')[0]}"] = prose
        else:
            prose = ""
    return found


def test_it_loads_as_it_is() -> None:
    """Copied without a change it sets nothing: the result is the defaults."""
    assert load(EXAMPLE, {}, NOWHERE).settings == Settings()
    assert all(not table for table in tomllib.loads(EXAMPLE.read_text(encoding="utf-8")).values())


def test_every_line_switched_on_is_the_defaults(tmp_path: Path) -> None:
    """Uncommenting every line gives exactly the defaults, so no documented default can be wrong."""
    file = tmp_path / "all.toml"
    file.write_text(uncommented(), encoding="utf-8")
    loaded = load(file, {}, NOWHERE)
    assert loaded.settings == Settings()
    given = {key for key, origin in loaded.origins.items() if origin != "default"}
    assert given == {key for key, setting in SETTINGS.items() if setting.default is not None}


def test_it_and_the_code_name_the_same_settings() -> None:
    """Neither knows a setting that the other does not, and they stand in the same order."""
    named = [f"{section}.{name}" for section, table in tomllib.loads(uncommented()).items() for name in table]
    assert named == list(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.key)
def test_each_explanation_gives_meaning_limits_and_default(setting: Setting) -> None:
    """The prose above a setting says what it is, what is allowed with its unit, and the default, as the code does."""
    told = explanations()[setting.key]
    default = "unset" if setting.default is None else setting.default_text
    assert f"{setting.description}. Allowed: {setting.allowed}. Default: {default}." in told


@pytest.mark.parametrize("key", SETTINGS)
def test_each_explanation_says_whether_a_reload_takes_it_over(key: str) -> None:
    """So does the page about systemd, which lists them."""
    assert ("Taken over by a reload (SIGHUP)." in explanations()[key]) == (key in RELOADED)
    page = (EXAMPLE.parent / "docs" / "systemd.md").read_text(encoding="utf-8")
    told = page.partition("Taken over are")[2].partition("A sweep that is under way")[0]
    assert (f"`{key}`" in told) == (key in RELOADED)
