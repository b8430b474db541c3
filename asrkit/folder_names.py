"""A name from a command line or a file in; whether it can name a folder inside another, and nothing outside, out."""


def is_plain(name: object) -> bool:
    """A word without separators that begins with no dot: neither a way out, such as `..`, nor hidden."""
    return isinstance(name, str) and name != "" and not name.startswith(".") and not set(name) & set("/\\\0")
