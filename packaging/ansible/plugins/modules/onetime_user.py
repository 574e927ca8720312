#!/usr/bin/python
# Copyright: (c) 2026, the pam-onetime authors
# SPDX-License-Identifier: MIT OR Apache-2.0

DOCUMENTATION = r"""
module: onetime_user
short_description: Switch one-time codes on and off for users
version_added: 0.1.0
description:
  - Issues and destroys the secrets that C(pam_onetime.so) checks codes against, by
    C(onetimectl) of pam-onetime.
  - After O(state=present), a user enrolls by logging in. The module says whether they have.
  - What cannot be found out about a user is a failure, and never V(absent).
options:
  name:
    description:
      - The users. Where one of them fails, the others are done all the same, and the task
        fails.
      - An empty list is a failure, since whoever thinks of a group as protected must learn
        that it has no members.
    type: list
    elements: str
    required: true
    aliases: [user, users]
  state:
    description:
      - With V(present), users without a secret are issued one. Nothing changes for the others,
        be they enrolled or not.
      - With V(absent), the secret is destroyed, and the password is enough again. A user
        whom the system does not know, and who has no secret, is V(absent) already.
      - With V(renewed), users are issued a different secret, and have to enroll again. The
        old secret is destroyed. Without O(issued_before) this is a change at each run.
    type: str
    choices: [present, absent, renewed]
    default: present
  issued_before:
    description:
      - With O(state=renewed), only secrets that were issued before this time are replaced, so
        that a second run changes nothing.
      - A date as V(2026-11-28), a time as V(2026-11-28T04:00:00Z), or seconds since 1970.
        Without a zone it is UTC.
    type: str
  kind:
    description: Codes by time or by counter. This and what follows is for secrets that are
      issued by this run; the configuration of the machine has the defaults.
    type: str
    choices: [totp, hotp]
  algorithm:
    description: The digest.
    type: str
    choices: [SHA1, SHA256, SHA512]
  digits:
    description: The length of a code, 6 to 8.
    type: int
  period:
    description: How many seconds a code is shown, 15 to 300; with O(kind=totp) only.
    type: int
  issuer:
    description: Who issues the codes, as the app shows it.
    type: str
  deadline:
    description: How long the secret can be activated, as V(none), V(12h) or V(14d).
    type: str
  force:
    description: Issue a secret also to users whom the system does not know. The record is
      then for whoever first logs in by that name.
    type: bool
    default: false
  show_secret:
    description:
      - Return the otpauth URIs of users who have not enrolled yet, each of which holds the
        secret. Once a user has enrolled, nobody sees the secret any more.
      - The task needs C(no_log=true) then, and fails without. What is registered holds
        the secrets all the same.
      - Most do not need this. Users are shown QR code and key at their logins, and
        C(onetimectl handout) prints sheets.
    type: bool
    default: false
  config:
    description: The configuration of the machine.
    type: path
    default: /etc/onetime/onetime.toml
extends_documentation_fragment: onetime.pam.tool
author:
  - the pam-onetime authors (@pam-onetime)
notes:
  - The secrets are made on the machine. None is in the arguments of a program or, without
    O(show_secret), in what the module returns. A diff never has one.
seealso:
  - module: onetime.pam.onetime_config
"""

EXAMPLES = r"""
- name: Whoever administers this machine has one-time codes
  onetime.pam.onetime_user:
    name: "{{ admins }}"

- name: Alice has lost her phone
  onetime.pam.onetime_user:
    name: alice
    state: renewed

- name: Everybody has a secret that was issued after the incident
  onetime.pam.onetime_user:
    name: "{{ staff }}"
    state: renewed
    issued_before: "2026-11-28"

- name: Bob has left
  onetime.pam.onetime_user:
    name: bob
    state: absent

- name: Find out who has not enrolled yet, and change nothing
  onetime.pam.onetime_user:
    name: "{{ staff }}"
  check_mode: true
  register: codes

- name: Name them
  ansible.builtin.debug:
    msg: "{{ codes.users | rejectattr('status', 'eq', 'active') | map(attribute='name') }}"

- name: Hand a secret to another system, without its being shown or logged
  onetime.pam.onetime_user:
    name: carol
    show_secret: true
  no_log: true
  register: carol
"""

RETURN = r"""
users:
  description: What there is to say of each user, after the run. In check mode, after what the run would do.
  returned: always, unless the whole run fails
  type: list
  elements: dict
  contains:
    name:
      description: The name, as it was given.
      type: str
      returned: always
      sample: alice
    status:
      description:
        - V(absent), the user has no secret and needs no code;
          V(pending), the user has one and has not enrolled yet;
          V(active), the user needs a code.
        - Null where it could not be found out.
      type: str
      returned: always
      sample: pending
    changed:
      description: Whether something was, or in check mode would be, done for this user.
      type: bool
      returned: always
    error:
      description: What failed for this user, and what to do about it; else null.
      type: str
      returned: always
    issued:
      description: When the secret was issued, as RFC 3339 in UTC; else null.
      type: str
      returned: always
      sample: "2026-11-28T04:00:00Z"
    since:
      description: When the first code has succeeded, as RFC 3339 in UTC; else null.
      type: str
      returned: always
    deadline:
      description: Until when the secret can be activated, as RFC 3339 in UTC; else null.
      type: str
      returned: always
    last_login:
      description: When the user last logged in with a code, as RFC 3339 in UTC; else null.
      type: str
      returned: always
    locked_until:
      description: The end of the lock after too many wrong codes, as RFC 3339 in UTC; else null.
      type: str
      returned: always
    uris:
      description: The otpauth URIs of a user who has not enrolled yet.
      type: list
      elements: str
      returned: with O(show_secret), for pending users
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.onetime.pam.plugins.module_utils.onetimectl import (
    Onetimectl,
    OnetimectlError,
    why,
)

# What onetimectl says of a name that nobody has and that has no record.
NOBODY = "this system knows no such user"

TIMES = ["issued", "since", "deadline", "last_login", "locked_until"]

# The words of onetimectl for what was or would be changed, and for what was not.
CHANGES = ["enabled", "would_be_enabled", "disabled", "would_be_disabled"]
NO_CHANGES = ["already_enabled", "not_enabled"]


def seconds(text):
    """A time as users write it, in seconds since 1970."""
    if text.isdigit():
        return int(text)
    try:
        # Before Python 3.11, Z is no zone.
        time = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise ValueError(
            "%s is neither a date as 2026-11-28, a time as 2026-11-28T04:00:00Z, nor seconds "
            "since 1970" % text
        )
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    return int(time.timestamp())


def as_text(time):
    """A time of onetimectl, be it in seconds or RFC 3339, as RFC 3339 in UTC."""
    if isinstance(time, int):
        return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return time


def checked(names):
    """The names, each once. What could be read as something else than a name is refused."""
    for name in names:
        if name != name.strip() or not name or name == "-" or name.startswith("#") or "\n" in name:
            raise ValueError("%r cannot be the name of a user" % name)
    if not names:
        raise ValueError("name is an empty list: nobody is selected")
    return list(dict.fromkeys(names))


class User:
    """What is known of a user, and what became of them."""

    def __init__(self, name):
        self.name = name
        self.before = None
        self.status = None
        self.changed = False
        self.error = None
        self.times = dict.fromkeys(TIMES)
        self.uris = None

    def see(self, row):
        """Takes over what `onetimectl status` says. Whether it says anything."""
        if row["error"] is not None:
            # Nobody by that name, and no record: that has been found out.
            self.status = "absent" if row["error"] == NOBODY else None
            self.times = dict.fromkeys(TIMES)
            return row["error"] == NOBODY
        words = {(False, False): "absent", (True, False): "pending", (True, True): "active"}
        self.status = words[(row["otp"], row["activated"])]
        self.times = dict((key, as_text(row[key])) for key in TIMES)
        return True

    def take(self, row):
        """Takes over what a verb says that changes something."""
        if row["error"] is not None:
            self.error = why(row)
        elif row["result"] in CHANGES:
            self.changed = True
        elif row["result"] not in NO_CHANGES:
            raise OnetimectlError("its result %r is not known" % row["result"])

    def returned(self):
        returned = dict(self.times, name=self.name, status=self.status, changed=self.changed, error=self.error)
        if self.uris is not None:
            returned["uris"] = self.uris
        return returned


class Run:
    """One task: the users as they are, and what is done with them."""

    def __init__(self, module, tool):
        self.module = module
        self.tool = tool
        self.state = module.params["state"]
        self.users = [User(name) for name in checked(module.params["name"])]
        self.before = None
        if module.params["issued_before"] is not None:
            if self.state != "renewed":
                raise ValueError("issued_before is for state=renewed")
            self.before = seconds(module.params["issued_before"])

    def ask(self, arguments, users):
        rows, warning = self.tool.of_users(arguments, [user.name for user in users])
        if warning:
            self.module.warn(warning)
        return rows

    def look(self):
        """How the users are before anything is done."""
        rows = self.ask(["status"], self.users)
        for user in self.users:
            row = rows[user.name]
            seen = user.see(row)
            user.before = user.status
            # Damaged accounts can be destroyed, and replaced; whether they are old enough
            # to be replaced cannot be found out.
            if not seen and (self.state == "present" or self.before is not None):
                user.error = why(row)
            if row["error"] == NOBODY and self.state != "absent" and not self.module.params["force"]:
                user.error = why(row)

    def wanted(self):
        """Those for whom something is to be done."""
        users = [user for user in self.users if user.error is None]
        if self.state == "present":
            return [user for user in users if user.status == "absent"]
        if self.state == "absent":
            return [user for user in users if user.status != "absent"]
        return [
            user
            for user in users
            if self.before is None or user.status == "absent" or seconds(user.times["issued"]) < self.before
        ]

    def verb(self):
        if self.state == "absent":
            arguments = ["disable", "--yes"]
        else:
            arguments = ["enable", "--yes", "--no-qr"]
            for option in ["kind", "algorithm", "digits", "period", "issuer", "deadline"]:
                if self.module.params[option] is not None:
                    arguments.append("--%s=%s" % (option, self.module.params[option]))
            arguments += ["--force"] if self.module.params["force"] else []
            arguments += ["--new-secret"] if self.state == "renewed" else []
        return arguments + (["--dry-run"] if self.module.check_mode else [])

    def change(self):
        users = self.wanted()
        if not users:
            return
        rows = self.ask(self.verb(), users)
        for user in users:
            user.take(rows[user.name])
        changed = [user for user in users if user.changed]
        if self.module.check_mode:
            for user in changed:
                user.status = "absent" if self.state == "absent" else "pending"
                user.times = dict.fromkeys(TIMES)
        elif changed:
            self.look_again(changed)

    def look_again(self, changed):
        rows = self.ask(["status"], changed)
        for user in changed:
            if not user.see(rows[user.name]) and user.error is None:
                user.error = why(rows[user.name])

    def show(self):
        """The secrets of those who have not enrolled, and still see them themselves."""
        for user in self.users:
            # In check mode, none has been issued to those who would change.
            if user.status == "pending" and not (self.module.check_mode and user.changed):
                rows, code, err = self.tool.run(["qr", "--", user.name])
                if [row.get("user") for row in rows] != [user.name]:
                    raise OnetimectlError("it says nothing about " + user.name)
                if rows[0]["error"] is None:
                    user.uris = [token["uri"] for token in rows[0]["tokens"]]
                else:
                    user.error = why(rows[0])

    def result(self):
        result = dict(
            changed=any(user.changed for user in self.users),
            users=[user.returned() for user in self.users],
        )
        if self.module._diff:
            result["diff"] = dict(
                before_header="one-time codes",
                after_header="one-time codes",
                before=self.described(lambda user: user.before),
                after=self.described(lambda user: user.status, renewed=True),
            )
        return result

    def described(self, status, renewed=False):
        lines = []
        for user in self.users:
            new = ", with a different secret" if renewed and user.changed and user.before != "absent" else ""
            word = status(user)
            lines.append("%s: %s%s\n" % (user.name, word or "unknown", new if word == "pending" else ""))
        return "".join(lines)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="list", elements="str", required=True, aliases=["user", "users"]),
            state=dict(type="str", choices=["present", "absent", "renewed"], default="present"),
            issued_before=dict(type="str"),
            kind=dict(type="str", choices=["totp", "hotp"]),
            algorithm=dict(type="str", choices=["SHA1", "SHA256", "SHA512"]),
            digits=dict(type="int"),
            period=dict(type="int"),
            issuer=dict(type="str"),
            deadline=dict(type="str"),
            force=dict(type="bool", default=False),
            # Whether a secret is shown is none.
            show_secret=dict(type="bool", default=False, no_log=False),
            config=dict(type="path", default="/etc/onetime/onetime.toml"),
        ),
        supports_check_mode=True,
    )
    if module.params["show_secret"] and not module.no_log:
        module.fail_json(
            msg="show_secret: the task needs no_log: true, else the secrets are shown and logged"
        )
    try:
        run = Run(module, Onetimectl(module, module.params["config"]))
    except ValueError as error:
        module.fail_json(msg=str(error))
    try:
        run.look()
        run.change()
        if module.params["show_secret"]:
            run.show()
    except (OnetimectlError, ValueError, KeyError) as error:
        module.fail_json(msg="onetimectl: %s" % error, **run.result())
    failed = ["%s: %s" % (user.name, user.error) for user in run.users if user.error is not None]
    if failed:
        module.fail_json(msg="; ".join(failed), **run.result())
    module.exit_json(**run.result())


if __name__ == "__main__":
    main()
