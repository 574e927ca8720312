# Copyright: (c) 2026, the pam-onetime authors
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the documentation of each module says that runs onetimectl."""


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
requirements:
  - pam-onetime on the machine
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed, when in diff mode.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
notes:
  - It needs root on the machine.
"""
