"""The forms of a report: what each says of one result, and that nothing that a file holds can change its form."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reports import STARTED, damaged
from tracewatchd.model.errors import PermanentError
from tracewatchd.model.findings import DayResult, Difference, DueDay, FileState, Finding, Kind, VerificationResult
from tracewatchd.reconcile.report import SUFFIXES, as_data, check_suffix, due_lines, worst_verdict, write_report

REPOSITORY = Path(__file__).parents[2]
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "{{ 7 * 7 }}{% raw %}",
    "line\nbreak\u2028and\u2029more\r",
    "`code` | *bold* [a](http://x) @team #1 ``",
    "=HYPERLINK(1)",
    "\ud800 lone",
    "\x00\x1b[31m",
    "&lt;&amp;",
)


def well() -> VerificationResult:
    """A sweep of one day that found nothing."""
    result = VerificationResult("/srv/traces", "quick", started_at=STARTED, took_s=0.5)
    result.states[FileState.LOADED] = 12
    result.days = [DayResult("bot/2026-11-11", files=12)]
    return result


def written(path: Path, *results: VerificationResult) -> str:
    """A report as text."""
    write_report(results, path)
    return path.read_text(encoding="utf-8")


def hostile() -> VerificationResult:
    """A result in which everything that may come from files is made to break a form."""
    result = VerificationResult("/srv/<b>", "deep", started_at=STARTED)
    for number, text in enumerate(HOSTILE):
        folder = text.replace("/", "")
        path = f"{folder}/2026-11-11/{number}_101112.json"
        differences = (Difference(f"/data/{text}", text, None),)
        result.findings.append(Finding(Kind.MISMATCH, path, text, run_id=text, differences=differences))
        result.days.append(DayResult(f"{folder}/2026-11-11", 1, Counter({Kind.MISMATCH: 1})))
        result.unchecked.append(text)
        result.closed[path] = text
    result.counts[Kind.MISMATCH] = len(HOSTILE)
    result.due = [DueDay("/srv/<b>", text, f"{text}/2026-11-12", "2026-11-12", 1, text) for text in HOSTILE]
    return result


# ---------------------------------------------------------------------------------------------------------------------
# The one object


def test_the_object_holds_plain_json() -> None:
    """It survives JSON unchanged, so it holds nothing but JSON's own types."""
    data = as_data([damaged(), well()])
    assert json.loads(json.dumps(data)) == data


def test_the_object_sums_sources() -> None:
    """Over several sources counts add up, the earliest start counts, and the worst verdict is the verdict."""
    data = as_data([well(), damaged()])
    assert data["verdict"] == "inconsistent"
    assert data["files"] == damaged().files + 12
    assert data["counts"]["missing"] == 3
    assert data["fixed"] == {"stale": 2}
    assert data["started_at"] == "2026-11-25T06:30:00+00:00"
    assert data["took_s"] == 48.713
    assert [source["verdict"] for source in data["sources"]] == ["consistent", "inconsistent"]
    assert len(data["days"]) == len(damaged().days) + 1


def test_the_worst_come_first() -> None:
    """Findings and counts are in the order of their severity, due days in that of their deletion."""
    data = as_data([damaged()])
    severities = [finding["severity"] for finding in data["findings"]]
    assert severities == sorted(severities, key=["critical", "error", "warning", "info"].index)
    assert set(list(data["counts"])[:3]) == {"altered", "orphan", "mismatch"}
    assert [day["days_left"] for day in data["due"]] == [0, 1, 2]


def test_a_finding_in_full() -> None:
    """Each finding has its kind, severity, run, path, detail, source, whether it is held, and its differences."""
    difference = Difference("/data/a", "1", None)
    result = well()
    result.findings = [Finding(Kind.MISMATCH, "p", "why", run_id="r", held=True, differences=(difference,))]
    assert as_data([result])["findings"] == [
        {
            "source": "/srv/traces",
            "kind": "mismatch",
            "severity": "critical",
            "run_id": "r",
            "path": "p",
            "detail": "why",
            "held": True,
            "differences": [{"pointer": "/data/a", "in_file": "1", "in_row": None}],
        }
    ]


def test_verdicts_over_several() -> None:
    """Inconsistent beats not checked, which beats consistent; no result at all was not checked."""
    unchecked = well()
    unchecked.unchecked.append("bot/2026-11-11: gone")
    assert worst_verdict([well()]) == "consistent"
    assert worst_verdict([well(), unchecked]) == "not_checked"
    assert worst_verdict([unchecked, damaged(), well()]) == "inconsistent"
    assert worst_verdict([]) == "not_checked"


def test_lines_of_days_that_are_due() -> None:
    """Commands say in a sentence how many days will be deleted and how many were; nothing where all is well."""
    assert due_lines([well()]) == []
    assert due_lines([damaged(), well()]) == [
        "3 project-days will be deleted upstream within 2 days and are not verified",
        "2 project-days were deleted upstream before they were verified",
    ]
    one = well()
    one.due, one.past = [DueDay("s", "bot", "bot/2026-11-11", "2026-11-11", 0, "never verified")], 1
    assert due_lines([one]) == [
        "1 project-day will be deleted upstream within 1 day and is not verified",
        "1 project-day was deleted upstream before it was verified",
    ]


def test_every_key_is_documented() -> None:
    """docs/reports.md has a line for each key of the object and of what is in it."""
    data = as_data([damaged()])
    inner = ("sources", "findings", "days", "due")
    keys = {*data, *(f"{name}[].{key}" for name in inner for key in data[name][0]), "closed[].path"}
    page = (REPOSITORY / "docs" / "reports.md").read_text()
    assert [key for key in sorted(keys) if f"| `{key}` |" not in page] == []


# ---------------------------------------------------------------------------------------------------------------------
# The forms


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("make", [well, damaged, hostile])
def test_every_form_can_be_written(tmp_path: Path, suffix: str, make: type) -> None:
    """Each form is written in one step as UTF-8, whatever the result holds; nothing else is left beside it."""
    path = tmp_path / f"report{suffix}"
    assert written(path, make())
    assert list(tmp_path.iterdir()) == [path]
    assert written(path)  # no source at all


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_people_are_told_the_verdict_and_what_is_due(tmp_path: Path, suffix: str) -> None:
    """The forms for people begin with the verdict and hold each sentence that commands say of days that are due."""
    text = written(tmp_path / f"report{suffix}", damaged())
    places = [text.index(told) for told in ("Inconsistent", "Files and database disagree", *due_lines([damaged()]))]
    assert places == sorted(places)
    assert "Files and database hold the same thing" in written(tmp_path / f"well{suffix}", well())
    unchecked = well()
    unchecked.unchecked.append("bot/2026-11-12: Permission denied")
    assert "no all-clear" in (told := written(tmp_path / f"half{suffix}", unchecked))
    assert "Permission denied" in told


def test_a_dry_run_says_so(tmp_path: Path) -> None:
    """What is told as repaired is told as what would be."""
    result = damaged()
    result.dry_run = True
    for suffix in (".md", ".html"):
        text = written(tmp_path / f"report{suffix}", result)
        assert "dry run: nothing was repaired" in text
        assert "would be repaired" in text


def test_json_lines(tmp_path: Path) -> None:
    """The first line is everything but the findings, each further one is a finding."""
    data = as_data([damaged()])
    first, *rest = map(json.loads, written(tmp_path / "r.jsonl", damaged()).splitlines())
    assert rest == data.pop("findings")
    assert first == data


def test_json_is_the_object(tmp_path: Path) -> None:
    """The file holds the object, and a lone surrogate as JSON writes it."""
    assert json.loads(written(tmp_path / "r.json", damaged())) == as_data([damaged()])
    assert json.loads(written(tmp_path / "r.json", hostile())) == as_data([hostile()])


def _cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_csv_has_a_row_for_each_finding(tmp_path: Path) -> None:
    """A header, then the findings; what differs stands in its cell as JSON."""
    write_report([damaged()], tmp_path / "r.csv")
    head, *rows = _cells((tmp_path / "r.csv").read_bytes().decode())
    assert head == ["source", "kind", "severity", "run_id", "path", "detail", "held", "differences"]
    findings = as_data([damaged()])["findings"]
    assert [row[4] for row in rows] == [finding["path"] or "" for finding in findings]
    assert {row[6] for row in rows} == {"true", "false"}
    assert json.loads(next(row[7] for row in rows if row[7])) == next(
        one["differences"] for one in findings if one["differences"]
    )


@given(st.text(max_size=20))
def test_no_cell_of_a_csv_is_a_formula(value: str) -> None:
    """Whatever a path holds, no cell begins as a formula does, and nothing but the guard is added."""
    from tracewatchd.reconcile.report.machine import table  # noqa: PLC0415 - the form itself, without a file

    result = well()
    result.findings = [Finding(Kind.MISSING, value, value)]
    _, row = _cells(table(as_data([result])))
    for cell in row:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\x00"))
        assert cell[:1] == "" or cell[:1] >= " "
    assert row[4].removeprefix("'") == value.removeprefix("'")


class _Page(HTMLParser):
    """The elements and attributes of a page, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def test_nothing_in_a_page_is_markup_but_ours(tmp_path: Path) -> None:
    """Hostile names and values add no script, no image and no attribute to the page, in HTML and in Markdown."""
    page = _Page(written(tmp_path / "r.html", hostile()))
    assert page.elements["script"] == 1
    assert page.elements["img"] == 0
    assert not {name for name in page.attributes if name.startswith("on")}
    rendered = _Page(
        MarkdownIt("commonmark", {"html": True}).enable("table").render(written(tmp_path / "r.md", hostile()))
    )
    assert set(rendered.elements) <= {
        "h1",
        "h2",
        "p",
        "strong",
        "ul",
        "li",
        "code",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert rendered.attributes == set()


def test_tables_of_markdown_keep_their_columns(tmp_path: Path) -> None:
    """A value with bars and backticks stays in its cell."""
    result = well()
    result.days = [DayResult("a|b`c`|/2026-11-11", 1, Counter({Kind.MISMATCH: 1}))]
    tokens = MarkdownIt("commonmark").enable("table").parse(written(tmp_path / "r.md", result))
    cells = [tokens[place + 1] for place, token in enumerate(tokens) if token.type == "td_open"]
    (name,) = [child.content for cell in cells[:1] for child in cell.children or () if child.type == "code_inline"]
    assert len(cells) == 4
    assert name == "a|b`c`|/2026-11-11"


def test_large_results_stay_usable(tmp_path: Path) -> None:
    """Of very many findings and days a page shows the worst, says how many it leaves out, and stays below 10 MB."""
    result = VerificationResult("/srv/traces", "full", started_at=datetime(2026, 11, 25, tzinfo=UTC))
    result.findings = [Finding(Kind.MISSING, f"bot/2026-11-11/{number}.json", "x") for number in range(9_000)]
    result.counts[Kind.MISSING] = 12_000
    first = date(2020, 1, 1)
    result.days = [
        DayResult(f"{folder}/{first + timedelta(days=number)}", 7) for folder in "abcdefgh" for number in range(2_000)
    ]
    result.days[5] = DayResult(result.days[5].directory, 7, Counter({Kind.MISSING: 12_000}))
    text = written(tmp_path / "r.html", result)
    assert len(text) < 10_000_000
    assert "10,000 more were counted and are not listed here" in text
    assert "10,000 older days, all consistent, are not drawn" in text
    assert f'data-directory="{result.days[5].directory}"' in text
    assert "11,800 more were counted" in written(tmp_path / "r.md", result)


# ---------------------------------------------------------------------------------------------------------------------
# Where it goes


def test_a_name_without_a_form() -> None:
    """An end that stands for no form is told with those that do, before anything is written."""
    assert check_suffix(Path("a.html")) == Path("a.html")
    with pytest.raises(ValueError, match=r"a\.pdf must end in one of \.json, \.jsonl, \.csv, \.md, \.html"):
        write_report([well()], Path("a.pdf"))


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    """A directory that is not there is an error with a sentence that names it."""
    with pytest.raises(PermanentError, match=r"cannot write report\.html") as failed:
        write_report([well()], tmp_path / "nowhere" / "report.html")
    assert str(tmp_path / "nowhere") in failed.value.hint
