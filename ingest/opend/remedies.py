"""What an OpenD may suffer from, and what to do about it, in words for whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Ailment:
    """One thing that an OpenD suffers from, the same whatever it says of it.

    Attributes
    ----------
    what : a sentence that goes on after the gateway's name
    ends_login : whether no ticks come before somebody does something
    said : the gateway's own words
    """

    what: str
    remedy: str
    ends_login: bool = True
    said: str = field(default="", compare=False)

    def saying(self, text: str) -> Ailment:
        """With the gateway's own words."""
        return replace(self, said=" ".join(text.split()))

    @property
    def sentence(self) -> str:
        """What it is, with the gateway's own words behind."""
        return f"{self.what} ({self.said})" if self.said else self.what


_AT_OPEND = "at the OpenD itself: its window, or its console or telnet port"
_CODE = f"enter the code {_AT_OPEND}"
_UPDATE = "install the current OpenD and start it"
_DISCLAIMER = "log in to the vendor's web page once and agree to its API terms, then restart the OpenD"
_LOG_IN = f"log in again {_AT_OPEND}"

PROGRAM_READY = 10
STARTING = frozenset({1, 2, 7})
"""States that a program is in only after its start or a new login."""

PROGRAM_STATES: dict[int, Ailment] = {
    0: Ailment("it does not say what it is doing", "look at the OpenD's own window or log"),
    1: Ailment("it has just been started", "wait: it is loading"),
    2: Ailment("it is logging in", "wait; if it stays so, look at the OpenD's own window or log"),
    3: Ailment("it waits for the code of a picture", _CODE),
    4: Ailment("it waits for a code sent to the account's phone", _CODE),
    5: Ailment("its login failed", f"check account and password {_AT_OPEND}"),
    6: Ailment("its version is too old to log in", _UPDATE),
    7: Ailment("it prepares what it needs", "wait; if it stays so, look at the OpenD's own window or log"),
    8: Ailment("it lacks data that it needs", "restart the OpenD; if that does not help, install it anew"),
    9: Ailment("its account has not agreed to the API's terms", _DISCLAIMER),
    11: Ailment("its login was ended from outside", _LOG_IN),
    12: Ailment("it could not get the API's terms", "look at the network of its machine, then restart the OpenD"),
}
"""By ProgramStatusType; 10 is Ready."""
assert PROGRAM_READY not in PROGRAM_STATES

EVENTS: dict[int, Ailment] = {
    1: Ailment("it could not read its own configuration", "correct OpenD.xml beside it", ends_login=False),
    2: Ailment("its API port could not be opened", "free the port, or change api_port", ends_login=False),
    3: Ailment("its version is too old to log in", _UPDATE),
    4: Ailment("its login failed", f"check account and password {_AT_OPEND}"),
    5: Ailment("its account has not agreed to the API's terms", _DISCLAIMER),
    6: Ailment("it lacks its network settings", "restart the OpenD; if that does not help, install it anew"),
    7: Ailment("another program logged in with its account and kicked it out", f"end that program, and {_LOG_IN}"),
    8: Ailment("the password of its account was changed", f"log in with the new one {_AT_OPEND}"),
    9: Ailment("its account is banned from logging in", "ask the vendor"),
    10: Ailment("it waits for the code of a picture", _CODE),
    11: Ailment("it waits for a code sent to the account's phone", _CODE),
    12: Ailment("it lacks its program data", "install the OpenD anew"),
    13: Ailment("it lacks data that it needs", "restart the OpenD; if that does not help, install it anew"),
    14: Ailment("the trade password was changed", "nothing: quotes do not need it", ends_login=False),
    15: Ailment("its account wants this device to be unlocked", f"confirm the device {_AT_OPEND}"),
}
"""By GtwEventType."""
