"""Who can reach a server, and what its log looks like."""

from ipaddress import ip_address
from typing import Any, Final

from uvicorn.config import LOGGING_CONFIG

from recsys.errors import ConfigError

# uvicorn's log, what the server itself reports in the same form, and one line for each request as it is.
LOGGING: Final[dict[str, Any]] = {
    **LOGGING_CONFIG,
    "formatters": {**LOGGING_CONFIG["formatters"], "line": {"format": "%(message)s"}},
    "handlers": {
        **LOGGING_CONFIG["handlers"],
        "lines": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        **LOGGING_CONFIG["loggers"],
        "serving": {"handlers": ["default"], "level": "INFO"},
        "recsys.access": {"handlers": ["lines"], "level": "INFO", "propagate": False},
    },
}


def check_exposure(host: str, *, has_keys: bool, allow_anonymous: bool) -> None:
    """Raise `ConfigError` for a host that other machines reach and that asks for no key."""
    if has_keys or allow_anonymous or is_loopback(host):
        return
    raise ConfigError(
        f"--host {host}: other machines could ask without a key; make keys (recsys key FILE NAME) and name "
        "the file with --keys, or say --allow-anonymous"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
