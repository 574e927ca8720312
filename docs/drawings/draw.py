#!/usr/bin/env python3
"""Makes the drawings of ARCHITECTURE.md and README.md: the SVG files beside this script.

`make drawings` writes them; with --check nothing is written, and the exit code is 1 if
a file is not what this script makes. The same script makes the same bytes everywhere:
no time, no chance, no library but Python's own (3.9 or later).

Each SVG has its own background, and colours for a dark and for a light page.
--theme light or --theme dark makes one of the two alone, for programs that do not
know prefers-color-scheme (rsvg-convert); these are written to the folder --to.
"""

import argparse
import sys
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent

LIGHT = {
    "page": "#ffffff", "edge": "#c9d1d9", "text": "#1f2328", "quiet": "#59636e",
    "box": "#f6f8fa", "band": "#f3f6f9", "line": "#59636e", "life": "#b4bdc7",
    "off": "#eaeef2", "wait": "#fff1c9", "on": "#d5f2dc", "core": "#dcebff",
}
DARK = {
    "page": "#0d1117", "edge": "#3d444d", "text": "#f0f6fc", "quiet": "#9da7b3",
    "box": "#161b22", "band": "#12171e", "line": "#9da7b3", "life": "#4b545e",
    "off": "#262c34", "wait": "#4a3a08", "on": "#12401f", "core": "#12325c",
}
SANS = "-apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def rules(colours):
    """The style that uses one set of colours."""
    fills = [f".{name} {{ fill: {colours[name]}; }}"
             for name in ("page", "text", "quiet", "box", "band", "off", "wait", "on", "core")]
    strokes = [
        f".edge {{ stroke: {colours['edge']}; }}",
        f".line {{ stroke: {colours['line']}; fill: none; }}",
        f".life {{ stroke: {colours['life']}; fill: none; }}",
        f".head {{ fill: {colours['line']}; }}",
    ]
    return "\n".join(fills + strokes)


def style(theme):
    """The style sheet: both sets of colours, or the one that is asked for."""
    common = f"text {{ font-family: {SANS}; font-size: 14px; }}\n" \
             f".mono {{ font-family: {MONO}; font-size: 12.5px; }}\n" \
             ".small { font-size: 12.5px; }\n.title { font-size: 16px; font-weight: 600; }\n" \
             ".back { stroke-dasharray: 5 4; }"
    if theme == "dark":
        return f"{common}\n{rules(DARK)}"
    if theme == "light":
        return f"{common}\n{rules(LIGHT)}"
    return f"{common}\n{rules(LIGHT)}\n@media (prefers-color-scheme: dark) {{\n{rules(DARK)}\n}}"


class Drawing:
    """An SVG file, element by element. Lengths are pixels, from the top left corner."""

    def __init__(self, width, height, title, description):
        self.width, self.height = width, height
        self.title, self.description = title, description
        self.parts = []

    def rect(self, x, y, width, height, classes, radius=8):
        self.parts.append(f'<rect class="{classes}" x="{x}" y="{y}" width="{width}" '
                          f'height="{height}" rx="{radius}"/>')

    def text(self, x, y, words, classes="text", anchor="middle"):
        self.parts.append(f'<text class="{classes}" x="{x}" y="{y}" '
                          f'text-anchor="{anchor}">{escape(words)}</text>')

    def line(self, points, classes="line"):
        way = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(f'<polyline class="{classes}" points="{way}" stroke-width="1.4"/>')

    def arrow(self, points, classes="line"):
        """A line with a head at its last point; its last piece is level or upright."""
        (x0, y0), (x1, y1) = points[-2], points[-1]
        self.line(points, classes)
        along_x, along_y = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
        back_x, back_y = x1 - 9 * along_x, y1 - 9 * along_y
        side_x, side_y = 4.5 * along_y, 4.5 * along_x
        self.parts.append(f'<polygon class="head" points="{x1},{y1} {back_x + side_x},{back_y + side_y} '
                          f'{back_x - side_x},{back_y - side_y}"/>')

    def svg(self, theme):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img" '
                'aria-labelledby="title description">')
        page = (f'<rect class="page edge" x="0.5" y="0.5" width="{self.width - 1}" '
                f'height="{self.height - 1}" rx="10"/>')
        return "\n".join([
            head,
            "<!-- Made by docs/drawings/draw.py: change that, and run make drawings. -->",
            f'<title id="title">{escape(self.title)}</title>',
            f'<desc id="description">{escape(self.description)}</desc>',
            f"<style>\n{style(theme)}\n</style>",
            page,
            *self.parts,
            "</svg>",
        ]) + "\n"


def account():
    """An account's life: three states, and what leads from one to another."""
    it = Drawing(
        960, 372, "The life of an account",
        "Disabled becomes pending by onetimectl enable. Pending becomes active by the first right "
        "code, at a login or by onetimectl verify. Active becomes pending by onetimectl enable "
        "--new-secret. Both become disabled by onetimectl disable, which destroys the secret.")
    top, height, width = 118, 116, 200
    states = [
        (40, "off", "disabled", "no record", ["a login needs", "the password alone"]),
        (380, "wait", "pending", "a secret is issued", ["a login needs the password;", "QR code shown, Enter skips"]),
        (720, "on", "active", "the user has enrolled", ["a login needs the", "password and a code"]),
    ]
    for x, colour, name, what, lines in states:
        it.rect(x, top, width, height, f"{colour} edge")
        middle = x + width / 2
        it.text(middle, top + 28, name, "text title")
        it.text(middle, top + 50, what, "quiet small")
        for number, words in enumerate(lines):
            it.text(middle, top + 78 + 19 * number, words, "text small")
    row = top + 44
    it.arrow([(240, row), (380, row)])
    it.text(310, row - 9, "onetimectl enable", "text mono")
    it.arrow([(580, row), (720, row)])
    it.text(650, row - 9, "first right code", "text small")
    it.text(650, row + 22, "at a login, or by", "quiet small")
    it.text(650, row + 40, "onetimectl verify", "quiet mono")
    # Back to pending, above the boxes.
    it.arrow([(820, top), (820, 66), (480, 66), (480, top)])
    it.text(650, 38, "onetimectl enable --new-secret", "text mono")
    it.text(650, 56, "a different secret; the user enrolls again", "quiet small")
    # To disabled, below them.
    bottom = top + height
    it.arrow([(820, bottom), (820, 296), (140, 296), (140, bottom)])
    it.line([(480, bottom), (480, 296)])
    it.text(480, 320, "onetimectl disable", "text mono")
    it.text(480, 340, "a phone is lost: the secret is destroyed, and enable issues a different one", "quiet small")
    return it


# Who takes part in a login: key, place, name, and where it is in the source.
PARTIES = {
    "door": (232, "person, application", "src/pam"),
    "driver": (432, "driver", "src/authenticate.rs"),
    "core": (622, "core, pure", "src/login"),
    "service": (806, "password service", "src/pam/password.rs"),
    "store": (990, "accounts", "src/store"),
    "log": (1164, "syslog", "src/audit.rs"),
}

# The steps of a login, each with what goes from whom to whom.
# ">" is a call, "<" what comes back from one, "." what a party does by itself, "!" a rule.
STEPS = [
    ("1  user", [
        (".", "door", "", "the hook pam_sm_authenticate reads arguments and configuration"),
        (">", "door", "driver", "authenticate"),
        (".", "driver", "", "the canonical name, from the password database"),
    ]),
    ("2  password", [
        (">", "driver", "door", "ask for the password"),
        ("<", "door", "driver", "password"),
        (">", "driver", "service", "verify: a libpam transaction of its own"),
        ("<", "service", "driver", "PasswordProof, or nothing"),
    ]),
    ("3  account", [
        (">", "driver", "store", "read, without a lock"),
        ("<", "store", "driver", "record and state; or none; an error refuses"),
    ]),
    ("4  plan", [
        (">", "driver", "core", "plan(account, policy, now)"),
        ("<", "core", "driver", "what to show and ask"),
    ]),
    ("5  show and ask", [
        (">", "driver", "door", "pending: QR code and key"),
        ("!", "driver", "", "needs a PasswordProof; no lock is held while a person types"),
        (">", "driver", "door", "ask for the code"),
        ("<", "door", "driver", "code"),
    ]),
    ("6  judge and commit", [
        (">", "driver", "store", "take the account's lock; read again what has changed"),
        (">", "store", "core", "judge(account, answer, now)"),
        ("<", "core", "store", "Judgement with the next state"),
        (".", "store", "", "state on disk"),
        ("<", "store", "driver", "settle: only now the verdict can be read"),
    ]),
    ("7  report", [
        ("<", "driver", "door", "the verdict"),
        (">", "door", "log", "one line"),
        (".", "door", "", "the hook returns a PAM result to the application"),
    ]),
]


def login():
    """The way of a login: who calls whom, from the top down."""
    row, gap, top = 32, 16, 92
    rows = sum(len(messages) for _, messages in STEPS)
    height = top + rows * row + len(STEPS) * (gap + 10) + 18
    it = Drawing(
        1264, height, "The way of a login",
        "The driver, src/authenticate.rs, asks the person by the application, has the password "
        "verified by the password service, reads the account, has the pure core plan and judge, "
        "and has the next state committed to disk before the verdict can be read. The hook then "
        "logs one line and returns a PAM result.")
    bands, y = [], top
    for name, messages in STEPS:
        tall = len(messages) * row + gap
        it.rect(14, y, 1236, tall, "band", 6)
        bands.append((name, messages, y))
        y += tall + 10
    for x, name, place in PARTIES.values():
        colour = "core" if place == "src/login" else "box"
        it.rect(x - 82, 18, 164, 54, f"{colour} edge")
        it.text(x, 40, name, "text")
        it.text(x, 60, place, "quiet mono")
        it.line([(x, 72), (x, y - 4)], "life")
    for name, messages, y in bands:
        it.text(26, y + 31, name, "text", "start")
        for number, message in enumerate(messages):
            step(it, y + 31 + number * row, *message)
    return it


def step(it, y, sign, who, whom, words):
    """One row of a login's drawing, with its words above its line."""
    x = PARTIES[who][0]
    # Words are on a piece of the band's colour, so that no lifeline runs through them.
    wide = 7.1 * len(words) + 12
    if sign in ".!":
        it.rect(x - 5, y - 10, 10, 14, "core edge" if sign == "." else "wait edge", 2)
        left = x + 14
        it.rect(left - 2, y - 12, wide, 18, "band", 2)
        it.text(left + 4, y + 1, words, "text small", "start")
        return
    to = PARTIES[whom][0]
    left = min(x, to) + 12
    it.rect(left - 4, y - 15, wide, 17, "band", 2)
    it.text(left, y - 3, words, "text small", "start")
    it.arrow([(x, y + 5), (to, y + 5)], "line back" if sign == "<" else "line")


DRAWINGS = {"account.svg": account, "login.svg": login}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs")
    parser.add_argument("--theme", choices=["both", "light", "dark"], default="both")
    parser.add_argument("--to", type=Path, default=HERE, help="folder to write to")
    options = parser.parse_args()
    different = []
    for name, draw in DRAWINGS.items():
        svg, path = draw().svg(options.theme).encode(), options.to / name
        if not options.check:
            path.write_bytes(svg)
        elif not path.exists() or path.read_bytes() != svg:
            different.append(name)
    for name in different:
        print(f"docs/drawings/{name} is not what draw.py makes: run make drawings", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
