# Copyright: (c) 2026, the pam-onetime authors
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs onetimectl, and reads what it says with --json.

What cannot be found out is a failure here, and never "no": an answer that is no JSON, is
of another version, or leaves a user out.
"""

import json

# Of the keys in what --json prints: onetimectl(8), "JSON".
VERSION = 1

# Where packages and `make install` put the tool, which may not be in the PATH of a user
# who became root.
FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"]


class OnetimectlError(Exception):
    """The whole run failed, before it came to the users."""


class Onetimectl:
    """The tool, with one configuration."""

    def __init__(self, module, config=None):
        self.module = module
        self.command = [module.get_bin_path("onetimectl", required=True, opt_dirs=FOLDERS), "--json"]
        if config is not None:
            self.command += ["--config", config]

    def run(self, arguments, data=None):
        """Returns what was printed as JSON, the exit code, and the text on standard error."""
        code, out, err = self.module.run_command(
            self.command + arguments, data=data, environ_update={"NO_COLOR": "1", "LC_ALL": "C"}
        )
        try:
            printed = json.loads(out)
        except ValueError:
            said = text_of(err) or "it printed no JSON, and nothing else (exit code %d)" % code
            raise OnetimectlError(said)
        if not isinstance(printed, list) or not all(isinstance(row, dict) for row in printed):
            raise OnetimectlError("it printed JSON that is no list of objects")
        for row in printed:
            if row.get("version") != VERSION:
                raise OnetimectlError(
                    "its JSON is of version %r, and this collection reads version %d"
                    % (row.get("version"), VERSION)
                )
        return printed, code, err

    def of_users(self, arguments, users):
        """The object of each user, by name; and a warning, if there is one.

        The names go by standard input: there may be more than fit into arguments.
        """
        rows, code, err = self.run(arguments + ["-"], data="\n".join(users))
        by_name = dict((row.get("user"), row) for row in rows)
        left_out = [user for user in users if user not in by_name]
        if left_out:
            raise OnetimectlError("it says nothing about " + ", ".join(left_out))
        failed = any(row.get("error") is not None for row in by_name.values())
        if (code != 0) != failed:
            raise OnetimectlError(
                text_of(err) or "its exit code is %d, and its JSON says otherwise" % code
            )
        # Errors are in the objects; without any, what is left is a warning.
        return by_name, "" if failed else text_of(err)


def text_of(err):
    """What was said on standard error: the error, and what to do about it."""
    prefix = "onetimectl: "
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    return " ".join(line[len(prefix):] if line.startswith(prefix) else line for line in lines)


def why(row):
    """The error of a user, with what to do about it."""
    remedy = row.get("remedy")
    return "%s%s" % (row["error"], " -> %s" % remedy if remedy else "")
