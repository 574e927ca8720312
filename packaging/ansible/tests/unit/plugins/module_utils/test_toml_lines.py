# Copyright: (c) 2026, the pam-onetime authors
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What toml_lines reads and writes, beside Python's own reader of TOML (3.11 and later)."""

import os
import random
import sys
import tomllib
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
COLLECTION = os.path.join(HERE, *[os.pardir] * 4)
sys.path.insert(0, os.path.join(COLLECTION, "plugins", "module_utils"))

from toml_lines import TomlError, TomlLines

SHIPPED = os.path.join(COLLECTION, os.pardir, os.pardir, "conf", "onetime.toml")


def leaves(table, above=()):
    found = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found.update(leaves(value, above + (key,)))
        else:
            found[above + (key,)] = value
    return found


def shipped():
    with open(SHIPPED) as file:
        return file.read()


def changed_lines(before, after):
    """The lines that are new, and those that are gone, both in order."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in new if line not in old], [line for line in old if line not in new]


class Changing(unittest.TestCase):
    def test_a_key_is_written_below_the_comment_that_shows_it(self):
        text = shipped()
        for path, value, line in [
            (("issuer",), "a", 'issuer = "a"'),
            (("limits", "failures"), 5, "failures = 5"),
            (("login", "echo"), True, "echo = true"),
            (("login", "require_groups"), ["a", "b"], 'require_groups = ["a", "b"]'),
        ]:
            lines = TomlLines(text)
            self.assertTrue(lines.set(path, value))
            self.assertFalse(lines.set(path, value))
            self.assertEqual(changed_lines(text, lines.text), ([line], []))
            written = lines.text.splitlines()
            above = written[written.index(line) - 1]
            self.assertTrue(above.startswith("#%s = " % path[-1]), above)
            self.assertTrue(lines.unset(path))
            self.assertFalse(lines.unset(path))
            self.assertEqual(lines.text, text)

    def test_a_value_is_replaced_and_its_line_keeps_its_comment(self):
        lines = TomlLines("[limits]\n  failures=3   # three\r\nperiod = [ 1, # one\n 2 ] # x\n")
        lines.set(("limits", "failures"), 5)
        lines.set(("limits", "period"), 7)
        self.assertEqual(lines.text, "[limits]\n  failures=5   # three\r\nperiod = 7 # x\n")

    def test_a_table_that_is_not_there_is_made(self):
        for before, after in [
            ("", '[a]\nb = "c"\n'),
            ("x = 1", 'x = 1\n\n[a]\nb = "c"\n'),
            ("a.x = 1\n[d]\n", 'a.x = 1\na.b = "c"\n[d]\n'),
            ("[a]", '[a]\nb = "c"\n'),
            ("[a]\n# of z\n[z]\n", '[a]\nb = "c"\n# of z\n[z]\n'),
        ]:
            lines = TomlLines(before)
            lines.set(("a", "b"), "c")
            self.assertEqual(lines.text, after)

    def test_a_key_without_a_table_is_above_all_tables(self):
        for before, after in [
            ("[a]\n", "k = 1\n\n[a]\n"),
            ("# of the file\n\n# of a\n[a]\n", "# of the file\n\nk = 1\n\n# of a\n[a]\n"),
            ("x = 1\n[a]\nk = 2\n", "x = 1\nk = 1\n[a]\nk = 2\n"),
            ("# of the file\n", "# of the file\nk = 1\n"),
        ]:
            lines = TomlLines(before)
            lines.set(("k",), 1)
            self.assertEqual(lines.text, after)
            self.assertEqual(tomllib.loads(after)["k"], 1)

    def test_a_comment_in_a_string_is_none(self):
        text = '[a]\nx = """\n#k = 1\n[b]\nk = 2\n"""\n'
        lines = TomlLines(text)
        lines.set(("a", "k"), 3)
        self.assertEqual(lines.text, text + "k = 3\n")

    def test_one_and_true_are_different(self):
        lines = TomlLines("a = 1\nb = [true]\n")
        self.assertTrue(lines.set(("a",), True))
        self.assertTrue(lines.set(("b",), [1]))
        self.assertEqual(lines.text, "a = true\nb = [1]\n")

    def test_what_is_not_understood_is_an_error(self):
        for text in [
            "a", "a =", "a = 1 2", 'a = "x', "a = '''x", "[a", "a = [1", "a = { b = 1", "a = 1.5",
            "a = 1979-05-27", 'a = "\\q"', 'a = "\\uD800"', "= 1", "[[a]]", "a = 1\na = 2",
            "[a]\n[a]\n", "a.b = 1\n[a]\nb = 2", "a = 08", "a = TRUE",
        ]:
            with self.assertRaises(TomlError, msg=text):
                TomlLines(text)
        for path, value in [(("a", "b"), 1), (("c", "d"), 1), (("e",), 1.5), (("e",), None)]:
            lines = TomlLines("a = { x = 1 }\nc = 1\n")
            with self.assertRaises(TomlError, msg=str(path)):
                lines.set(path, value)


class Random:
    """Texts and values by chance, each run the same."""

    NAMES = ["a", "b", "c", "long-name", "9"]
    COMMENTS = ["# %s" % name for name in NAMES] + ["#%s = 1" % name for name in NAMES]

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def text(self):
        characters = "aé\"'\\#[]{}=,. \t\U0001f511" + "\n\x01\x7f"
        return "".join(self.chance.choice(characters) for dummy in range(self.chance.randrange(6)))

    def value(self):
        return self.chance.choice([
            lambda: self.chance.randrange(-9, 10**6),
            lambda: self.chance.random() < 0.5,
            self.text,
            lambda: [self.text() for dummy in range(self.chance.randrange(3))],
        ])()

    def written(self, value):
        if isinstance(value, str):
            plain = all(ch >= " " and ch != "\x7f" or ch == "\t" for ch in value)
            if plain and "'" not in value and self.chance.random() < 0.4:
                return "'%s'" % value
            if "'''" not in value and plain and not value.endswith("'") and self.chance.random() < 0.3:
                return "'''\n%s'''" % value
            escaped = "".join(
                ch if ch not in '"\\' and ch >= " " and ch != "\x7f" else "\\u%04x" % ord(ch) for ch in value
            )
            return self.chance.choice(['"%s"', '"""\n%s"""', '"""%s\\\n   """']) % escaped
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return self.chance.choice(["%d", "%#x"]) % value if value >= 0 else str(value)
        between = self.chance.choice([", ", ",", ",\n  # of it ]\n  ", " , "])
        return "[%s%s]" % (between.join(map(self.written, value)), self.chance.choice(["", " ", ",", ",\n"]) if value else "")

    def document(self):
        lines = []
        for table in self.chance.sample(["", *self.NAMES[:3]], 3):
            names = self.chance.sample(self.NAMES, self.chance.randrange(5))
            if table:
                lines.append("%s[%s]%s" % (" " * self.chance.randrange(2), table, self.chance.choice(["", " # x"])))
            else:
                # Those without a table come first, and are no tables.
                lines = ["k%s = %s" % (name, self.written(self.value())) for name in names] + lines
                continue
            for name in names:
                lines += self.chance.choice([[], [""], ["# %s" % name], ["#%s = 1" % name]])
                lines.append("%s%s= %s%s" % (
                    self.chance.choice([name, '"%s"' % name, "'%s' " % name]), " " * self.chance.randrange(2),
                    self.written(self.value()), self.chance.choice(["", " ", "  # y = 1"])))
        return self.chance.choice(["\n", "\n", "\n", ""]).join([("\n".join(lines)), ""])


class AnyDocument(unittest.TestCase):
    def test_what_is_read_and_changed_is_as_another_reader_has_it_and_the_rest_stays(self):
        for seed in range(1000):
            by_chance = Random(seed)
            text = by_chance.document()
            with self.subTest(seed=seed, text=text):
                lines = TomlLines(text)
                expected = leaves(tomllib.loads(text))
                self.assertEqual(lines.values, expected)
                for dummy in range(4):
                    name = by_chance.chance.choice(Random.NAMES)
                    path = by_chance.chance.choice([("k" + name,), ("a", name), ("b", name), ("d", name)])
                    if by_chance.chance.random() < 0.3:
                        self.assertEqual(lines.unset(path), path in expected)
                        expected.pop(path, None)
                    else:
                        value = by_chance.value()
                        before = lines.text
                        same = path in expected and repr(expected[path]) == repr(value)
                        self.assertEqual(lines.set(path, value), not same)
                        self.assertEqual(lines.text == before, same)
                        expected[path] = value
                    read = leaves(tomllib.loads(lines.text))
                    self.assertEqual(read, expected)
                    comments = [line for line in text.splitlines() if line in Random.COMMENTS]
                    self.assertEqual([line for line in comments if line not in lines.text], [])


if __name__ == "__main__":
    unittest.main()
