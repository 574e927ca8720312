#!/usr/bin/python
# Copyright: (c) 2026, the pam-onetime authors
# SPDX-License-Identifier: MIT OR Apache-2.0

DOCUMENTATION = r"""
module: onetime_config
short_description: Set and remove keys in a configuration of pam-onetime
version_added: 0.1.0
description:
  - Changes single keys of C(/etc/onetime/onetime.toml), and leaves comments, order and all
    other keys as they are.
  - The changed text is checked by C(onetimectl config check) before it takes the place of
    the file, in one step. With a configuration that is not valid, every login with a code would be
    refused. A file that is not valid is a failure also where nothing is to be changed.
options:
  path:
    description:
      - The configuration. It is made if it is not there; its directory has to be.
      - For settings of one service, name another file here, and name it in the line of that
        service in C(/etc/pam.d), as in C(pam_onetime.so config=/etc/onetime/sudo.toml).
        What is not in that file has its default, and not the value of the other file.
    type: path
    default: /etc/onetime/onetime.toml
  settings:
    description:
      - Keys and the values they are to have, as C(onetime.toml(5)) has them. A section is a dictionary,
        or a prefix with a dot.
      - A value is a string, an integer, a boolean or a list of these. What a template has
        made a string of becomes an integer or a boolean where the key needs one.
    type: dict
    default: {}
  absent:
    description:
      - Keys that are not to be there, as V(limits.failures), so that their defaults hold.
    type: list
    elements: str
    default: []
  backup:
    description: Keep a copy of the file that is replaced.
    type: bool
    default: false
extends_documentation_fragment: onetime.pam.tool
author:
  - the pam-onetime authors (@pam-onetime)
notes:
  - To write a whole file instead, use M(ansible.builtin.template) with
    C(validate=onetimectl config check %s).
  - Whether the groups in it exist, and whether the values are wise, says C(onetimectl doctor).
seealso:
  - module: onetime.pam.onetime_user
"""

EXAMPLES = r"""
- name: Members of wheel need a code, and have two weeks to enroll
  onetime.pam.onetime_config:
    settings:
      issuer: "{{ inventory_hostname }}"
      enrollment:
        deadline: 14d
      login:
        require_groups: [wheel]

- name: Ten codes may be wrong, and the length of codes is the default
  onetime.pam.onetime_config:
    settings:
      limits.failures: 10
    absent: [code.digits]
    backup: true

- name: For sudo, no host is remembered
  onetime.pam.onetime_config:
    path: /etc/onetime/sudo.toml
    settings:
      login.remember: none
"""

RETURN = r"""
path:
  description: The configuration.
  returned: always
  type: str
  sample: /etc/onetime/onetime.toml
changes:
  description: The keys that were, or in check mode would be, set or removed.
  returned: always
  type: list
  elements: str
  sample: [limits.failures]
backup_file:
  description: The copy of the file that was replaced.
  returned: with O(backup), if the file was replaced
  type: str
"""

import os
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.onetime.pam.plugins.module_utils.onetimectl import Onetimectl, OnetimectlError
from ansible_collections.onetime.pam.plugins.module_utils.toml_lines import TomlError, TomlLines

MODE = 0o644


class Refusal(Exception):
    """Why nothing was changed."""


def existing(path):
    """The text of the file; None if there is none. A file that a login refuses is refused."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refusal("cannot open it, or it is a symbolic link: %s" % error.strerror)
    with os.fdopen(file, "rb") as reader:
        status = os.fstat(reader.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Refusal("it is no regular file")
        if status.st_uid != 0 or status.st_mode & 0o022:
            raise Refusal(
                "another user than root can write it, and every login refuses it: look at what "
                "it says, then give it to root with mode 0644"
            )
        content = reader.read()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("it is not UTF-8")


def flat(settings, above=()):
    """Each key by its parts, and its value."""
    found = []
    for key, value in settings.items():
        path = above + tuple(str(key).split("."))
        if isinstance(value, dict):
            found += flat(value, path)
        elif value is None:
            raise Refusal("%s has no value; name it in absent to remove it" % ".".join(path))
        else:
            found.append((path, value))
    return found


def wished(params):
    """What to set and what to remove. No key is both, or there twice."""
    settings = flat(params["settings"])
    absent = [tuple(key.split(".")) for key in params["absent"]]
    paths = [path for path, value in settings] + absent
    for path in paths:
        if "" in path:
            raise Refusal("%r is no key" % ".".join(path))
        if paths.count(path) > 1:
            raise Refusal("%s is named twice" % ".".join(path))
    return settings, absent


def typed(tool, settings):
    """The same, with numbers and booleans that templates have made strings of."""
    words = dict((str(number), number) for number in (True, False))
    texts = [value for path, value in settings if isinstance(value, str)]
    if not any(text.isdigit() or text in words for text in texts):
        return settings
    shown, code, err = tool.run(["config", "show"])
    values = [value for line in shown for value in line["values"] or []]
    types = dict((value["key"], type(value["value"])) for value in values)
    found = []
    for path, value in settings:
        kind = types.get(".".join(path)) if isinstance(value, str) else None
        if kind is int and value.isdigit():
            value = int(value)
        elif kind is bool and value in words:
            value = words[value]
        found.append((path, value))
    return found


class Checker:
    """Has the tool look at a text."""

    def __init__(self, module, tool):
        self.module = module
        self.tool = tool

    def faults(self, text):
        """What is wrong with a configuration, by lines; and the file that holds it now."""
        handle, path = tempfile.mkstemp(dir=self.module.tmpdir, suffix=".toml")
        self.module.add_cleanup_file(path)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
        faults, code, err = self.tool.run(["config", "check", path])
        if (code != 0) != bool(faults):
            raise OnetimectlError("its exit code is %d, and it names %d faults" % (code, len(faults)))
        said = []
        for fault in faults:
            said.append("%s%s" % ("line %d: " % fault["line"] if fault["line"] else "", fault["what"]))
        return said, path


def edited(text, settings, absent):
    """The changed text, and the keys that were changed."""
    lines = TomlLines(text)
    changes = []
    for path, value in settings:
        if lines.set(path, value):
            changes.append(".".join(path))
    for path in absent:
        if lines.unset(path):
            changes.append(".".join(path))
    return lines.text, changes


def run(module):
    path = module.params["path"]
    tool = Onetimectl(module)
    settings, absent = wished(module.params)
    settings = typed(tool, settings)
    before = existing(path)
    text, changes = edited(before or "", settings, absent)
    faults, new = Checker(module, tool).faults(text)
    if faults:
        what = "it would not be valid, and is left as it is" if changes else "it is not valid"
        raise Refusal("%s: %s" % (what, "; ".join(faults)))
    changed = before is None or text != before
    result = dict(changed=changed, path=path, changes=changes)
    if module._diff:
        result["diff"] = dict(before_header=path, after_header=path, before=before or "", after=text)
    if changed and not module.check_mode:
        if before is not None and module.params["backup"]:
            result["backup_file"] = module.backup_local(path)
        if before is None:
            os.chmod(new, MODE)
            os.umask(0o022)
        module.atomic_move(new, path)
        if before is None:
            module.set_mode_if_different(path, MODE, False)
    return result


def main():
    module = AnsibleModule(
        argument_spec=dict(
            path=dict(type="path", default="/etc/onetime/onetime.toml"),
            settings=dict(type="dict", default={}),
            absent=dict(type="list", elements="str", default=[]),
            backup=dict(type="bool", default=False),
        ),
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except (Refusal, TomlError) as error:
        module.fail_json(msg="%s: %s" % (module.params["path"], error), path=module.params["path"])
    except OnetimectlError as error:
        module.fail_json(msg="onetimectl: %s" % error, path=module.params["path"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
