"""Errors as one line, however many they have."""


def one_line(error: Exception) -> str:
    """What an error says; its kind, if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
