"""Wrong settings in words, without their values: a Redis URL may hold a password."""

from pydantic import ValidationError


def explain_settings_error(error: ValueError, prefix: str = "LLMJOBS_") -> list[str]:
    """Return one sentence for each wrong setting, naming its environment variable."""
    if not isinstance(error, ValidationError):
        return [str(error)]
    return [_explain(item["loc"], item["msg"], prefix) for item in error.errors()]


def _explain(place: tuple[int | str, ...], message: str, prefix: str) -> str:
    if not place:
        return message
    name = ".".join(map(str, place)).upper()
    return f"{prefix}{name.removeprefix(prefix)}: {message}"
