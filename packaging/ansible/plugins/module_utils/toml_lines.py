# Copyright: (c) 2026, the pam-onetime authors
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Changes single keys of a TOML file, and leaves every other byte of it as it is.

It reads as much of TOML 1.1 as a configuration of pam-onetime can hold: tables, dotted
keys, strings, integers, booleans, and arrays and inline tables of these. What it does not
understand is an error. Whether the file makes sense is for `onetimectl config check`.
"""

import re

# Between a quoted key, a bare one and what neither is.
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_INTEGER = re.compile(r"[+-]?(0|[1-9](_?[0-9])*)|0x[0-9A-Fa-f](_?[0-9A-Fa-f])*|0o[0-7](_?[0-7])*|0b[01](_?[01])*")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\"}
_NUMBERED = {"x": 2, "u": 4, "U": 8}


class TomlError(Exception):
    """The text is not understood, or cannot be changed here."""


class _Entry:
    """A key and its value, where they are in the text."""

    def __init__(self, path, value, start, value_start, value_end, end, dotted_from):
        self.path = path
        self.value = value
        self.start = start
        self.value_start = value_start
        self.value_end = value_end
        # After the end of its line.
        self.end = end
        # How many parts of the path are those of the header above.
        self.dotted_from = dotted_from


class _Header:
    def __init__(self, path, end):
        self.path = path
        self.end = end


class TomlLines:
    """A TOML text whose keys can be read and changed."""

    def __init__(self, text):
        self._read(text)

    def get(self, path):
        """The value of a key by its parts, as ("limits", "failures"); None if it is not set."""
        return self.values.get(tuple(path))

    def set(self, path, value):
        """Sets a key. Returns whether that changes anything."""
        path = tuple(path)
        if path in self.values and _same(self.values[path], value):
            return False
        written = _written(value)
        entry = self._entry_to_change(path)
        if entry is not None:
            self._replace(entry.value_start, entry.value_end, written)
        else:
            self._insert(path, written)
        if not _same(self.get(path), value):
            raise TomlError("%s cannot be set in this file" % ".".join(path))
        return True

    def unset(self, path):
        """Removes a key with its line. Returns whether it was there."""
        path = tuple(path)
        if path not in self.values:
            return False
        entry = self._entry_to_change(path)
        self._replace(entry.start, entry.end, "")
        return True

    def _entry_to_change(self, path):
        for entry in self._entries:
            if entry.path == path:
                return entry
        for entry in self._entries:
            name = ".".join(entry.path)
            if entry.path == path[: len(entry.path)]:
                raise TomlError(
                    "%s is a table in braces, or no table: write [%s] with a line for each key"
                    % (name, name)
                )
            if path == entry.path[: len(path)]:
                raise TomlError("%s is a table: it has %s" % (".".join(path), name))
        return None

    def _insert(self, path, written):
        """A new line: below the comment that shows the key, or else at the table's end."""
        headers = [header for header in self._headers if header.path == path[:-1]]
        depth = len(path) - 1
        if depth == 0:
            start, end = 0, self._end_of_table(None)
        elif headers:
            start, end = headers[0].end, self._end_of_table(headers[0])
        else:
            self._insert_without_header(path, written)
            return
        line = "%s = %s\n" % (_written_key(path[-1]), written)
        shown = re.compile(r"^#[ \t]*%s[ \t]*=.*$" % re.escape(path[-1]), re.MULTILINE)
        found = [at for at in shown.finditer(self.text, start, end) if not self._in_entry(at.start())]
        entries = [entry.end for entry in self._entries if start <= entry.start < end]
        if found:
            at = found[-1].end()
            at += 1 if at < len(self.text) else 0
        elif entries:
            at = entries[-1]
        elif depth == 0:
            # Nothing but comments: those at the top are about the file, and those right
            # above a header are about its table.
            at = end
            above = self.text[:end].splitlines(True)
            while end < len(self.text) and above and above[-1].startswith("#"):
                at -= len(above.pop())
            line = line + "\n" if at < len(self.text) else line
        else:
            at = start
        self._insert_line(at, line)

    def _insert_without_header(self, path, written):
        # A table that dotted keys have made cannot be opened by a header as well.
        dotted = [
            entry
            for entry in self._entries
            if entry.path[: len(path) - 1] == path[:-1] and entry.dotted_from < len(path) - 1
        ]
        if dotted:
            key = ".".join(_written_key(part) for part in path[dotted[-1].dotted_from:])
            self._insert_line(dotted[-1].end, "%s = %s\n" % (key, written))
            return
        table = ".".join(_written_key(part) for part in path[:-1])
        space = "\n" if self.text else ""
        self._insert_line(
            len(self.text), "%s[%s]\n%s = %s\n" % (space, table, _written_key(path[-1]), written)
        )

    def _insert_line(self, at, line):
        if at > 0 and self.text[at - 1] != "\n":
            line = "\n" + line
        self._replace(at, at, line)

    def _end_of_table(self, header):
        """Where the next header begins that is after this one; None: after the beginning."""
        after = -1 if header is None else header.end - 1
        starts = [start for start in self._header_starts if start > after]
        return starts[0] if starts else len(self.text)

    def _in_entry(self, at):
        return any(entry.start <= at < entry.end for entry in self._entries)

    def _replace(self, start, end, new):
        self._read(self.text[:start] + new + self.text[end:])

    def _read(self, text):
        self.text = text
        self.values = {}
        self._entries = []
        self._headers = []
        self._header_starts = []
        reader = _Reader(text)
        table = ()
        while reader.at < len(text):
            start = reader.at
            reader.skip(" \t")
            if reader.rest_of_line():
                continue
            if reader.looking_at("[["):
                raise reader.error("arrays of tables are not understood")
            if reader.looking_at("["):
                reader.at += 1
                table = reader.key()
                reader.expect("]")
                reader.end_of_line()
                if any(header.path == table for header in self._headers):
                    raise reader.error("[%s] is there twice" % ".".join(table))
                self._headers.append(_Header(table, reader.at))
                self._header_starts.append(start)
                continue
            key = reader.key()
            reader.expect("=")
            reader.skip(" \t")
            value_start = reader.at
            value = reader.value()
            value_end = reader.at
            reader.end_of_line()
            entry = _Entry(table + key, value, start, value_start, value_end, reader.at, len(table))
            self._entries.append(entry)
            for path, leaf in _leaves(entry.path, value):
                if path in self.values:
                    raise reader.error("%s is there twice" % ".".join(path))
                self.values[path] = leaf


class _Reader:
    """Reads a text from left to right."""

    def __init__(self, text):
        self.text = text
        self.at = 0

    def error(self, what):
        line = self.text.count("\n", 0, min(self.at, len(self.text))) + 1
        return TomlError("line %d: %s" % (line, what))

    def looking_at(self, what):
        return self.text.startswith(what, self.at)

    def skip(self, characters):
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1

    def expect(self, what):
        self.skip(" \t")
        if not self.looking_at(what):
            raise self.error("%s is missing" % what)
        self.at += len(what)

    def comment(self):
        if self.looking_at("#"):
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end

    def rest_of_line(self):
        """Whether nothing but a comment is left of the line, which is passed over then."""
        before = self.at
        self.skip(" \t")
        self.comment()
        if self.looking_at("\r\n"):
            self.at += 2
        elif self.looking_at("\n"):
            self.at += 1
        elif self.at < len(self.text):
            self.at = before
            return False
        return True

    def end_of_line(self):
        if not self.rest_of_line():
            raise self.error("there is more on the line than a key and a value")

    def between(self):
        """White space, ends of lines and comments, within brackets and braces."""
        while self.at < len(self.text):
            before = self.at
            self.skip(" \t\r\n")
            self.comment()
            if self.at == before:
                return

    def key(self):
        parts = []
        while True:
            self.skip(" \t")
            bare = _BARE_KEY.match(self.text, self.at)
            if bare:
                self.at = bare.end()
                parts.append(bare.group())
            elif self.looking_at('"') or self.looking_at("'"):
                parts.append(self.string())
            else:
                raise self.error("a key is missing")
            self.skip(" \t")
            if not self.looking_at("."):
                return tuple(parts)
            self.at += 1

    def value(self):
        if self.looking_at('"') or self.looking_at("'"):
            return self.string()
        if self.looking_at("["):
            return self.array()
        if self.looking_at("{"):
            return self.table()
        word = re.compile(r"[^\s,#\]}]+").match(self.text, self.at)
        if not word:
            raise self.error("a value is missing")
        if word.group() in ("true", "false"):
            value = word.group() == "true"
        elif _INTEGER.fullmatch(word.group()):
            value = int(word.group(), 0) if word.group()[:2] in ("0x", "0o", "0b") else int(word.group())
        else:
            raise self.error("the value %s is not understood" % word.group())
        self.at = word.end()
        return value

    def array(self):
        self.at += 1
        values = []
        while True:
            self.between()
            if self.looking_at("]"):
                self.at += 1
                return values
            values.append(self.value())
            self.between()
            if self.looking_at(","):
                self.at += 1
            elif not self.looking_at("]"):
                raise self.error("] is missing")

    def table(self):
        self.at += 1
        values = {}
        while True:
            self.between()
            if self.looking_at("}"):
                self.at += 1
                return values
            key = self.key()
            self.expect("=")
            self.skip(" \t")
            for path, leaf in _leaves(key, self.value()):
                values[path] = leaf
            self.between()
            if self.looking_at(","):
                self.at += 1
            elif not self.looking_at("}"):
                raise self.error("} is missing")

    def string(self):
        quote = self.text[self.at]
        if self.looking_at(quote * 3):
            return self.long_string(quote)
        self.at += 1
        value = []
        while True:
            if self.at >= len(self.text) or self.text[self.at] == "\n":
                raise self.error("the end of a string is missing")
            character = self.text[self.at]
            self.at += 1
            if character == quote:
                return "".join(value)
            value.append(self.escape() if character == "\\" and quote == '"' else character)

    def long_string(self, quote):
        self.at += 3
        for line_end in ("\r\n", "\n"):
            if self.looking_at(line_end):
                self.at += len(line_end)
                break
        value = []
        while True:
            if self.at >= len(self.text):
                raise self.error("the end of a string is missing")
            if self.looking_at(quote * 3):
                # Up to two quotes may be before the three that end it.
                extra = 0
                while extra < 2 and self.looking_at(quote * (4 + extra)):
                    extra += 1
                self.at += 3 + extra
                return "".join(value) + quote * extra
            character = self.text[self.at]
            self.at += 1
            if character == "\\" and quote == '"':
                folded = re.compile(r"[ \t]*\r?\n[ \t\r\n]*").match(self.text, self.at)
                if folded:
                    self.at = folded.end()
                else:
                    value.append(self.escape())
            else:
                value.append(character)

    def escape(self):
        character = self.text[self.at : self.at + 1]
        self.at += 1
        if character in _NUMBERED:
            digits = self.text[self.at : self.at + _NUMBERED[character]]
            self.at += len(digits)
            if re.compile("[0-9A-Fa-f]{%d}" % _NUMBERED[character]).fullmatch(digits):
                number = int(digits, 16)
                if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
                    return chr(number)
        elif character in _ESCAPES:
            return _ESCAPES[character]
        raise self.error("an escape in a string is not understood")


def _leaves(path, value):
    """What a value sets: itself, or of a table in braces what is in it."""
    if not isinstance(value, dict):
        return [(path, value)]
    return [(path + within, leaf) for within, leaf in value.items()]


def _same(one, other):
    """Equal, and of one type: True is no 1."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other))
    return type(one) is type(other) and one == other


def _written(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[%s]" % ", ".join(_written(item) for item in value)
    raise TomlError("a value is a string, an integer, a boolean or a list, and not %r" % (value,))


def _written_key(part):
    return part if _BARE_KEY.fullmatch(part) else _quoted(part)


def _quoted(text):
    short = dict((character, "\\" + name) for name, character in _ESCAPES.items() if name != "e")
    written = []
    for character in text:
        if character in short:
            written.append(short[character])
        elif ord(character) < 0x20 or ord(character) == 0x7F:
            written.append("\\u%04X" % ord(character))
        else:
            written.append(character)
    return '"%s"' % "".join(written)
