"""The canonical form of rule files: one form, the same rules, every comment, and a form that stays."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from textwrap import dedent, indent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuptime import core
from cuptime.app.core_parts import rule_tools
from cuptime.app.rules_format import fmt
from cuptime.rules.compiled import build
from cuptime.rules.layout import folded, formatted
from cuptime.rules.source import KEYS
from cuptime.rules.yaml import read_rules

UGLY = """\
# The file.


hit_policy:   first   # the header
rules:
  # The rule.
  - condition: (user.tier=="gold")&&( order.quantity>2 )  # who
    # Why it is called so.
    name:    gold
    action: "tag: vip"

    priority:
      5
  # The second rule.
  -
    name: folded
    action: {tag: x}
    condition: >
      order.sku.matches("\\\\d+")
      || user.tier == 'new'

  - {condition: "user.tier=='a\\"b'",  name: flow, action: 'tag: y'}
  - name: commented
    condition: |
      user.tier == 'x'  // only these
        && order.quantity>1
    action: "tag: z"
    # The end of the rule.
# Of the namespace.
namespace: here
variables:
  far: order.latitude>31.5
# The end of the file.
"""
NEAT = """\
# The file.

# Of the namespace.
namespace: here
hit_policy: first   # the header
variables:
  far: "order.latitude > 31.5"
rules:
  # The rule.
  # Why it is called so.
  - name: gold

    priority: 5
    condition: "user.tier == 'gold' && order.quantity > 2"  # who
    action: "tag: vip"
  # The second rule.
  -
    name: folded
    condition: >-
      order.sku.matches('\\\\d+') || user.tier == 'new'
    action: {tag: x}

  - {condition: "user.tier == 'a\\"b'",  name: flow, action: 'tag: y'}
  - name: commented
    condition: |
      user.tier == 'x'  // only these
        && order.quantity>1
    action: "tag: z"
    # The end of the rule.
# The end of the file.
"""


def neat(source: str) -> str:
    return formatted(source, core.canonical_condition)


def test_one_form_with_every_comment() -> None:
    assert neat(UGLY) == NEAT
    assert neat(NEAT) == NEAT


def test_line_ends_marks_and_blank_lines() -> None:
    source = '\ufeffrules:\n\n\n\n  - name: a\t \n    condition: "true"\n    action: "tag: x"'
    assert neat(source) == 'rules:\n\n  - name: a\n    condition: "true"\n    action: "tag: x"\n'
    kept = "rules:\n  - name: a\n    description: |\n      # no comment  \n\n\n      end\n"
    kept += '    condition: "true"\n    action: "tag: x"\n'
    assert neat(kept) == kept


def test_long_conditions_are_broken_where_they_join() -> None:
    tests = [f"user.tier == 'tier number {n} || ('" for n in range(9)]
    written = f"({' && '.join(tests)}) || " + " || ".join(tests)
    lines = folded(written, 80)
    assert " ".join(lines) == written
    assert [line for line in lines if line.endswith("||")] == [
        f"{tests[-1]}) ||",
        *(f"{t} ||" for t in tests[:-1]),
    ]
    assert max(map(len, lines)) <= 80
    assert folded(f"x == '{'a b ' * 50}'", 80) == ["x ==", f"'{'a b ' * 50}'"]


@pytest.mark.parametrize(
    "odd", ["\u2028", "\x85", "\ufeff", "\x7f", "\U0001f964", "é", "\\", '"', "\t", "\n", "#", ": "]
)
def test_any_character_of_a_literal_survives(odd: str) -> None:
    text = core.canonical_condition(f"user.tier == '''a{odd if odd != chr(92) else odd * 2} b'''")
    assert text is not None
    escaped = "".join(f"\\U{ord(char):08x}" for char in text)
    source = f'rules:\n  - name: a\n    condition: "{escaped}"\n    action: "tag: x"\n'
    (rule,) = read_rules(neat(source)).rules
    assert rule.condition.value == text


# --- any file -------------------------------------------------------------------------------------------------------

CONDITIONS = (
    "true", "user.tier=='gold'", '((user.tier)) == "gold"', "order.quantity>1&&(order.quantity<5||user.tier!='new')",
    "[1,2,3].exists(q,q==order.quantity)", "user.tier.matches(r'^\\w+$')", "!(order.quantity in [1,2])",
    "order.kind=='TEA'?order.quantity>2:order.quantity>4", "order.sku == 'it\\'s: # \"x\"'",
    " || ".join(f"order.quantity=={n}" for n in range(15)),
)  # fmt: skip
TEXTS = (
    "plain",
    "two words",
    "'single # quoted'",
    '"double: quoted"',
    "|\n  a # b\n\n  c",
    ">-\n  folded\n  text",
)


def _scalar(text: str, style: str) -> str:
    if style == "single":
        return "'" + text.replace("'", "''") + "'"
    if style == "double":
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{style}\n  {text}"


@st.composite
def files(draw: st.DrawFn) -> str:
    """A good file, written in any order, style and spacing, with a numbered comment wherever one may stand."""
    shuffled = draw(st.randoms(use_true_random=False))
    numbers = iter(range(10_000))

    def comment(space: str) -> str:
        return shuffled.choice(
            ("", "", "\n", f"{space}# c{next(numbers)}\n", f"\n{space}# c{next(numbers)}  \n")
        )

    def entry(key: str, value: str) -> str:
        head, *rest = value.split("\n")
        gap = shuffled.choice((" ", "   "))
        trail = shuffled.choice(("", f"  # c{next(numbers)}", "  "))
        return "\n".join((f"{key}:{gap}{head}{trail}", *rest)) + "\n"

    def rule(number: int) -> str:
        style = shuffled.choice(("single", "double", ">-", "|", ">"))
        pairs = [
            ("name", f"r{number}"),
            ("condition", _scalar(shuffled.choice(CONDITIONS), style)),
            ("action", shuffled.choice(('"tag: x"', "{tag: y, weight: 2}", "\n  tag: z\n  weight: 1.5"))),
            *shuffled.sample(
                [
                    ("priority", str(shuffled.randrange(9))),
                    ("tags", shuffled.choice(("[a, b]", "\n- a\n- b  # c-in"))),
                    ("description", shuffled.choice(TEXTS)),
                    ("enabled", "true"),
                    ("on_error", "skip"),
                ],
                shuffled.randrange(6),
            ),
        ]
        shuffled.shuffle(pairs)
        first, *others = [entry(*pair) for pair in pairs]
        body = first + "".join(comment("") + other for other in others)
        return comment("  ") + "  - " + indent(body, "    ").removeprefix("    ")

    sections = [
        "rules:\n" + "".join(rule(number) for number in range(draw(st.integers(1, 4)))),
        *shuffled.sample(
            [
                "namespace:  n\n",
                entry("hit_policy", "first"),
                "variables:\n  far:   order.latitude>31.5\n  near: >\n    !variables.far\n",
                "tests:\n  - order: {quantity: 2}\n    matches: []\n    at: '2027-02-06T09:00:00+08:00'\n",
            ],
            shuffled.randrange(4),
        ),
    ]
    shuffled.shuffle(sections)
    return comment("") + "".join(section + comment("") for section in sections)


def _said(source: str) -> object:
    file = read_rules(source)
    assert file.faults == []
    rules = [
        (rule.rule_id, rule.description, rule.priority, rule.enabled, rule.tags, rule.on_error,
         core.canonical_condition(rule.condition.value), [(use.name, use.text) for use in rule.actions])
        for rule in file.rules
    ]  # fmt: skip
    (header,) = file.headers
    variables = [(v.name, core.canonical_condition(v.expression.value)) for v in header.variables]
    return rules, header.namespace, header.hit_policy and header.hit_policy.value, variables, len(file.tests)


def _comments(source: str) -> list[str]:
    return sorted(line.partition("# c")[2].strip() for line in source.split("\n") if "# c" in line)


@given(files())
def test_any_file_keeps_its_meaning_and_comments_and_its_form_stays(source: str) -> None:
    written = neat(source)
    assert neat(written) == written
    assert _said(written) == _said(source)
    assert _comments(written) == _comments(source)
    keys = [
        line.strip(" -").partition(":")[0] for line in written.split("\n") if line[:4] in ("  - ", "    ")
    ]
    order = [KEYS.index(key) for key in keys if key in KEYS]
    assert sum(later < earlier for earlier, later in itertools.pairwise(order)) < written.count(" name:")


def test_formatted_rules_answer_the_same() -> None:
    tools = rule_tools()
    source = "rules:\n" + "".join(
        f"  - action: 'tag: x'\n    condition: {_scalar(condition, 'single')}\n    name: r{number}\n"
        for number, condition in enumerate(CONDITIONS)
    )
    before, after = (build(tools, [("a.yaml", text)]).compiled for text in (source, neat(source)))
    assert before is not None
    assert after is not None
    choose = random.Random(7)
    rows = []
    for _ in range(500):
        facts = {
            "order.quantity": str(choose.randrange(16)),
            "user.tier": choose.choice(("gold", "new", "")),
            "order.kind": choose.choice(("TEA", "COFFEE")),
            "order.sku": choose.choice(('it\'s: # "x"', "a")),
        }
        rows.append({name: int(value) if value.isdigit() else value for name, value in facts.items()})
    found = before.evaluate(rows, 0, "collect")
    assert found == after.evaluate(rows, 0, "collect")
    assert len({tuple(matches) for matches in found}) > 20


# --- the command ----------------------------------------------------------------------------------------------------


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fmt([tmp_path]) == 2
    ugly, good = tmp_path / "a.yaml", tmp_path / "b.yml"
    ugly.write_text(UGLY)
    ugly.chmod(0o640)
    good.write_text(NEAT.replace("namespace: here", "namespace: there"))
    assert fmt([tmp_path], check=True) == 1
    assert ugly.read_text() == UGLY
    assert capsys.readouterr().out.endswith("a.yaml: would change\n2 files, 1 to format\n")
    assert fmt([tmp_path]) == 0
    assert (ugly.read_text(), ugly.stat().st_mode & 0o777) == (NEAT, 0o640)
    assert capsys.readouterr().out.endswith("a.yaml: formatted\n2 files, 1 formatted\n")
    assert fmt([tmp_path], check=True) == fmt([tmp_path]) == 0
    ugly.write_bytes(NEAT.replace("\n", "\r\n").encode())
    assert fmt([ugly], check=True) == 1
    assert fmt([ugly]) == 0
    assert ugly.read_bytes() == NEAT.encode()
    assert sorted(tmp_path.iterdir()) == [ugly, good]


def test_with_a_fault_anywhere_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ugly, bad = tmp_path / "a.yaml", tmp_path / "b.yaml"
    ugly.write_text(UGLY)
    wrong = dedent("""\
        rules:
          - condition: "user.teir=='x'"
            name: a
            action: "tag: x"
        """)
    bad.write_text(wrong)
    assert fmt([tmp_path]) == 1
    assert (ugly.read_text(), bad.read_text()) == (UGLY, wrong)
    told = capsys.readouterr().err
    assert f"{bad}:2:17: UNKNOWN_NAME" in told
    assert "nothing is written" in told


def test_examples_are_canonical() -> None:
    assert fmt([Path(__file__).parents[3] / "examples" / "rules"], check=True) == 0
