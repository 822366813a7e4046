"""Raises on import what `except Exception` does not catch."""


class NoLicence(BaseException):
    """No Exception."""


raise NoLicence("ask for one")
