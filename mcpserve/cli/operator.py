"""Who runs a command, for the record of what was done."""

import os
import sys

if sys.platform != "win32":
    import pwd


def operator() -> str:
    """Return the operating system's user, and who became it by sudo."""
    name = _user()
    behind = os.environ.get("SUDO_USER", "")
    return f"{name} (sudo by {behind})" if behind and behind != name else name


def _user() -> str:
    # Not getpass.getuser(), which believes the environment.
    if sys.platform == "win32":
        return os.getlogin()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
